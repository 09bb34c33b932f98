"""What may happen to a stream, without any I/O: states, events, reasons, and the ports rooms meet at."""
