"""What every page of the demo shows: the way to the others, the source of what runs on it, and what lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from millstream.demo.extras import installed, missing
from millstream.demo.model import CARRIERS
from millstream.demo.sources import shown


def values(here: str, actions: Mapping[str, Callable[..., Any]]) -> dict[str, Any]:
    """What the template of the page at an address needs."""
    return {
        "here": here,
        "pages": {
            address: name for address, (name, needs) in _PAGES.items() if not needs or installed(needs)
        },
        "source": {name: shown(action) for name, action in actions.items()},
        "carriers": CARRIERS,
        "missing": missing(),
    }


_PAGES: Final = {
    "/": ("streams", ""),
    "/downloads": ("downloads", ""),
    "/answers": ("a model answer", "apsw"),
}
"""Each with its name, and the library it needs."""
