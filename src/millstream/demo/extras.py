"""What the demo shows depends on what is installed: it starts without any extra, and says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final, TypeVar

Exposed = TypeVar("Exposed", bound=Callable[..., Any])


def installed(module: str) -> bool:
    """Whether an extra's library can be imported."""
    return find_spec(module) is not None


def if_installed(module: str, decorator: Callable[[Exposed], Exposed]) -> Callable[[Exposed], Exposed]:
    """A decorator that is left out where its library is; an application of your own just requires it."""
    return decorator if installed(module) else lambda function: function


def missing() -> list[str]:
    """What is left out, one sentence each."""
    return [sentence for module, sentence in _SENTENCES.items() if not installed(module)]


_SENTENCES: Final = {
    "pyarrow": "The formats arrow and parquet are left out: pip install 'millstream[arrow]' brings them.",
    "apsw": "The page of the model answer is left out: pip install 'millstream[durable]' brings it.",
}
