"""Adapters: what an object is, by its type, decided once a type and the same for every format.

An object is a value, a record (names and values: a row, a JSON object), or the rows of a table. The first
adapter that knows its type decides; the order stands in the table at the foot. Libraries are known by the
shape of their types and never imported: an application that does not have them pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from millstream.codecs import frames, querysets, records, scalars
from millstream.codecs.natures import (
    PLAIN,
    Adapter,
    Nature,
    Recognize,
    described,
    refused,
)
from millstream.errors import ConfigurationError

Adapt = Callable[[Any], Any]
"""An author's own: makes a value, a dict, rows or anything else that is known of an object."""

MOST_TYPES: Final = 4096
"""Types that are remembered; more than that are types made per item."""


class Adapters(dict[type, Adapter]):
    """The adapters of one application, by the type of the object.

    Args:
        own: the author's, by the types they are for; a subclass has that of its nearest base.

    Raises:
        ConfigurationError: when one is for no type, for a type that formats know by themselves, or cannot
            be called.
    """

    def __init__(self, own: Mapping[type, Adapt] | None = None) -> None:
        super().__init__()
        self._own = dict(own or {})
        for kind, adapt in self._own.items():
            _check(kind, adapt)
        self.has_own = bool(self._own)

    def __missing__(self, kind: type) -> Adapter:
        adapter = next((found for recognize in _ORDER if (found := recognize(kind)) is not None), None)
        if kind not in PLAIN and (own := self._own_for(kind)) is not None:
            adapter = own
        if adapter is None:
            way_out = f"yield a dict of it, or say what it is: Millstream(adapters={{{kind.__name__}: ...}})"
            adapter = refused(f"it holds {described(kind)}", way_out)
        if len(self) < MOST_TYPES:
            self[kind] = adapter
        return adapter

    def _own_for(self, kind: type) -> Adapter | None:
        bases = (
            *kind.__mro__,
            *(base for base in self._own if _is_subclass(kind, base)),
        )  # abstract ones, too
        found = next((base for base in bases if base in self._own), None)
        if found is None:
            return None
        adapt = self._own[found]

        def checked(value: Any) -> Any:
            made = adapt(value)
            if type(made) is kind:
                raise TypeError(f"the adapter for {found.__qualname__} returned another {kind.__qualname__}")
            return made

        return Adapter(Nature.VALUE, checked, is_own=True)


def _check(kind: Any, adapt: Any) -> None:
    if not isinstance(kind, type):
        raise ConfigurationError(f"adapters= has {kind!r} for a type: it must be a class")
    if kind in PLAIN or kind is object:
        raise ConfigurationError(
            f"adapters= has {kind.__qualname__}, which every format writes in its own way: register a class "
            "of your own, or change the values before they are yielded"
        )
    if not callable(adapt):
        raise ConfigurationError(
            f"adapters= has {adapt!r} for {kind.__qualname__}: it must be a function of one object"
        )


def _is_subclass(kind: type, base: type) -> bool:
    try:
        return issubclass(kind, base)
    except TypeError:  # a protocol with members that are no methods
        return False


_ORDER: Final[tuple[Recognize, ...]] = (
    PLAIN.get,
    scalars.missing,
    scalars.enum,
    records.json_method,  # what its author wrote for this purpose, and may hide something
    frames.arrow_values,
    frames.arrow_stream,
    records.mapped,
    records.pydantic_model,
    records.attrs_class,
    records.data_class,
    records.struct,
    records.named_tuple,
    records.database_row,
    records.driver_range,
    querysets.query_set,
    records.django_model,
    scalars.numpy_value,
    scalars.arrow_interval,
    scalars.subclass,
    scalars.text_like,
    frames.iterated_wrongly,
    records.mapping,
    scalars.collection,
    frames.unread,
)

DEFAULT: Final = Adapters()
"""Those of an application whose author adds none."""
