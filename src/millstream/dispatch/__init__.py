"""From a path to a bound call: what is exposed, which method answers, with which arguments.

This room knows no generator, no bytes and no codec. `expose` notes what an author declares, `Tree` compiles
it at start-up and finds the action of a request, `bind` turns the request's texts into its arguments.
"""
