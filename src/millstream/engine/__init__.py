"""The engine: any producer, made pullable and surely closed, on its way to the socket."""
