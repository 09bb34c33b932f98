"""The log over HTTP: the Durable Streams protocol, as an ASGI application to mount anywhere."""
