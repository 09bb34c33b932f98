"""Content-Disposition: the name a download is saved under (RFC 6266), safe on every system.

What stands in a name may come from a client, and what reads it ranges from `curl -OJ` to spreadsheets on
systems where `:` opens a second stream and `NUL` is a device. So a name is made harmless, not only quoted.
"""

from __future__ import annotations

import unicodedata
from typing import Final
from urllib.parse import quote

LONGEST: Final = 180
"""Bytes of a name in UTF-8: below every file system's limit, with room for a browser's " (1)"."""


def safe_name(wanted: str) -> str:
    """The nearest name that is a plain file's anywhere: no folder, no hidden file, no device."""
    text = harmless(unicodedata.normalize("NFC", wanted))
    stem, dot, extension = text.strip(" .").rpartition(".")
    if not dot:
        stem, extension = extension, ""
    stem = stem.rstrip(" .") or "download"
    stem = no_device(stem)
    end = _shortened(f".{extension}" if extension else "", _LONGEST_END)
    return _shortened(stem, LONGEST - len(end.encode())) + end


def attachment(name: str) -> str:
    """The header's value; a name that is not ASCII is said twice (RFC 6266 §4.3, RFC 8187)."""
    plain = _in_ascii(name)
    value = f'attachment; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS)}"


def _in_ascii(name: str) -> str:
    """What clients that know no better save it under; some decode percent signs (RFC 6266, appendix D)."""
    if not name.isascii():
        name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        stem, dot, extension = name.rpartition(".")
        if dot and not stem.strip(" ._-"):  # nothing is left of it
            name = f"download.{extension}"
    plain = harmless(name.replace("%", "_"))
    return no_device(plain.strip(" .") or "download")  # full-width letters may have become one


def harmless(name: str) -> str:
    """The name without what is no part of a file's name on some system, or turns the reading direction."""
    return "".join("_" if _is_risky(character) else character for character in name)


def no_device(name: str) -> str:
    """The name, changed when Windows would take it for a device: `con`, `nul.txt`."""
    return f"_{name}" if name.partition(".")[0].strip().upper() in _DEVICES else name


def _is_risky(character: str) -> bool:
    """Separators, quotes, wildcards; controls, among them those that turn the reading direction."""
    return character in '/\\:*?"<>|' or unicodedata.category(character)[0] == "C"


def _shortened(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


_LONGEST_END: Final = 20
_ATTR_CHARS: Final = "!#$&+-.^_`|~"  # RFC 8187 §3.2.1, beside letters and digits
_DEVICES: Final = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{port}{number}" for port in ("COM", "LPT") for number in "123456789\xb9\xb2\xb3"}
)
