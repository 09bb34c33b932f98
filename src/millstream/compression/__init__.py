"""Compression: bodies made smaller as they pass, each write decodable at once (RFC 9110 §8.4)."""
