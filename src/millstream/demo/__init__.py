"""The demo: an author's code on real input. It uses Millstream as anybody would, through its front door."""
