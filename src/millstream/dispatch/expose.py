"""`@expose`: what an author declares about a method, kept on the function itself.

The function is returned unchanged, so it can be called, tested and wrapped like any other. A declaration
is never changed once it is made: a decorator that copies a function's attributes (`functools.wraps`) carries
it along, and what is stacked above the copy is not seen below it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPMethod
from types import FunctionType, MappingProxyType
from typing import Any, Final, TypeVar

from millstream.config import is_setting
from millstream.errors import ConfigurationError

Exposed = TypeVar("Exposed", bound=Callable[..., Any])

ATTRIBUTE: Final = "__millstream__"
"""Where a function carries its `Declaration`."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """One alternative in which an action's result can be sent."""

    engine: str  # a codec, a template, or "" for text and bytes as they come
    content_type: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)  # the codec's; it checks them
    download: str | None = None  # the name it is saved under; "" for not at all, None where nothing is said
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    codec: type[Any] | None = None  # where it was given itself, and not by its name


@dataclass(frozen=True, slots=True)
class Declaration:
    """All that was said about one method by its stacked `expose`s."""

    exposures: tuple[Exposure, ...] = ()  # as written, top to bottom: the first is the default
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)  # laid over the deployment's
    allowed_methods: frozenset[str] | None = None
    inherit: bool = False

    def over(self, other: Declaration) -> Declaration:
        """This declaration laid over another: its exposures first, its settings prevailing."""
        allowed = (self.allowed_methods or frozenset()) | (other.allowed_methods or frozenset())
        return Declaration(
            exposures=self.exposures + other.exposures,
            settings=MappingProxyType({**other.settings, **self.settings}),
            allowed_methods=allowed or None,
            inherit=self.inherit or other.inherit,
        )


def expose(
    engine_or_template: str | type[Any] = "",
    content_type: str | None = None,
    *,
    inherit: bool = False,
    allowed_methods: Sequence[str] | None = None,
    download: str | None = None,
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> Callable[[Exposed], Exposed]:
    """Make a controller's method reachable, and say how its result is sent.

    Stacked exposes are alternatives, chosen by the URL's extension, then by `?format=`, then by `Accept`; the
    topmost is the default.

    Args:
        engine_or_template: a codec (`"json"`, `"csv"`, or its class), a template, or nothing: text and bytes
            are sent raw.
        content_type: of the response; the engine's own when not given.
        inherit: take over what the base classes' method of the same name declares, after one's own.
        allowed_methods: the HTTP methods that may reach the action; others are answered 405.
        download: the name the body is saved under, with parameters of the action in braces:
            `"flights-{month}.csv"`. It holds for every codec stacked here that names none, with that codec's
            extension; `""` is no name.
        headers: what every response in this format says, unless the action says otherwise.
        options: settings of this action (`lifetime=60`) and options of the codec (`fields=(...)`). Where both
            have a name, true and false are the setting's, text is the codec's (`compression="snappy"`).
            `durable=True`, or a `Durable`, for an output that is produced once and kept to be resumed.

    Raises:
        ConfigurationError: when it is used without parentheses, on something that is no plain function, or
            with a content type or method that HTTP does not know.
    """
    _check_engine(engine_or_template)
    said = Declaration(
        exposures=_exposures(
            engine_or_template,
            content_type,
            inherit=inherit,
            options=options,
            download=download,
            headers=headers or {},
        ),
        settings=MappingProxyType({k: v for k, v in options.items() if is_setting(k, v)}),
        allowed_methods=_methods(allowed_methods),
        inherit=inherit,
    )

    def declare(function: Exposed) -> Exposed:
        if not isinstance(function, FunctionType):
            raise ConfigurationError(
                f"@expose() stands on {_called(function)}, which is no plain function: "
                "expose methods, below any @property, @staticmethod or @classmethod"
            )
        below = declared(function)
        setattr(function, ATTRIBUTE, said if below is None else said.over(below))
        return function

    return declare


def declared(function: object) -> Declaration | None:
    """What was declared of a function; None for anything that was never exposed."""
    if type(function) is not FunctionType:  # isinstance would ask a proxy for its __class__
        return None
    declaration = vars(function).get(ATTRIBUTE)
    return declaration if isinstance(declaration, Declaration) else None


def _check_engine(engine: object) -> None:
    if isinstance(engine, str) or (isinstance(engine, type) and hasattr(engine, "media_type")):
        return
    if hasattr(type(engine), "media_type"):
        name = type(engine).__qualname__
        raise ConfigurationError(f"@expose was given an object of the codec {name}: give the class itself")
    raise ConfigurationError(f"@expose stands on {_called(engine)} without parentheses: write @expose()")


def _exposures(
    engine: str | type[Any],
    content_type: str | None,
    *,
    inherit: bool,
    options: Mapping[str, Any],
    download: str | None,
    headers: Mapping[str, str],
) -> tuple[Exposure, ...]:
    if content_type is not None and not _MEDIA_TYPE.fullmatch(content_type):
        raise ConfigurationError(
            f"@expose was given the content type {content_type!r}: it must read like text/csv"
        )
    if download is not None and not isinstance(download, str):
        raise ConfigurationError(
            f'@expose was given the download {download!r}: it must read like "orders.csv"'
        )
    codec_options = {k: v for k, v in options.items() if not is_setting(k, v)}
    if inherit and not engine and content_type is None and not codec_options:
        for what, given in {"download": download, "headers": headers or None}.items():
            if given is not None:
                raise ConfigurationError(f"the {what} {given!r} is of no format: name the codec beside it")
        return ()  # only inherits: a raw alternative of its own would come before the inherited default
    name, codec = (engine, None) if isinstance(engine, str) else (engine.name, engine)
    fixed = MappingProxyType(dict(headers))
    return (Exposure(name, content_type, MappingProxyType(codec_options), download, fixed, codec),)


def _methods(names: Sequence[str] | None) -> frozenset[str] | None:
    if names is None:
        return None
    if isinstance(names, str) or not names:
        raise ConfigurationError(f'allowed_methods is {names!r}: it must be a list such as ["GET", "POST"]')
    unknown = [name for name in names if str(name).upper() not in _KNOWN]
    if unknown:
        raise ConfigurationError(f"allowed_methods names {unknown[0]!r}, which is no method of HTTP")
    return frozenset(name.upper() for name in names)


def _called(thing: object) -> str:
    return str(getattr(thing, "__qualname__", None) or f"a {type(thing).__name__}")


_KNOWN: Final = frozenset(method.value for method in HTTPMethod)
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;[\t -~]*)?", re.ASCII)
