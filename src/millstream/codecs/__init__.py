"""Objects in, bytes out, no I/O: one file a format, and a catalogue of them."""
