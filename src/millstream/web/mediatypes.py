"""Media types with parameters (RFC 9110 §8.3), as an author writes them into a content type."""

from __future__ import annotations

from email.message import Message


def media_type_of(content_type: str) -> str:
    """The type and subtype, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def parameter_of(content_type: str, name: str) -> str | None:
    """The value of a parameter without its quotes; None when there is no such parameter."""
    if ";" not in content_type:
        return None
    message = Message()
    message["content-type"] = content_type
    value = message.get_param(name)
    return value if isinstance(value, str) else None
