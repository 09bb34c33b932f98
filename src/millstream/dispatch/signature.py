"""A method's signature, compiled: does a request fit it, and what is the method called with?

Path segments fill parameters from the left, fields fill them by name; a segment prevails over a field. Fields
nobody asked for are dropped, unless the method takes `**fields`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from types import FunctionType, SimpleNamespace
from typing import Any

from millstream.dispatch.conversion import SINGLE, Converter, Unusable, conversion
from millstream.errors import ConfigurationError, HTTPError


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an action."""

    name: str
    required: bool
    convert: Converter | None  # None: values pass as they are


@dataclass(frozen=True, slots=True)
class Signature:
    """What an action takes, without the controller itself."""

    positional: tuple[Parameter, ...]
    surplus: Parameter | None  # *args
    named: Mapping[str, Parameter]  # everything that may be given by name
    fields: Parameter | None  # **kwargs
    required: tuple[tuple[int, str], ...]  # position and name; keyword-only ones stand behind any position
    receivers: frozenset[str]  # names under which wrapped functions take the controller itself
    text: str  # as in the source, for `millstream routes`
    returns: Any = None  # the annotation of what it returns; None where there is none that can be resolved

    def takes(self, count: int) -> bool:
        """Whether that many path segments are not too many."""
        return count <= len(self.positional) or self.surplus is not None

    def missing(self, count: int, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The required parameters that neither `count` path segments nor the fields fill."""
        return tuple(
            name
            for position, name in self.required
            if position >= count and (name not in params or name not in self.named)
        )

    def bind(self, args: Sequence[str], params: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments to call the method with, converted.

        Raises:
            HTTPError: 422, naming every argument that cannot be used.
        """
        binding = _Binding()
        filled = self.positional if self.surplus is None else chain(self.positional, repeat(self.surplus))
        called = tuple(
            [binding.value(parameter, value) for parameter, value in zip(filled, args, strict=False)]
        )
        keywords = self._keywords(binding, len(args), params) if params else {}
        if binding.problems:
            raise HTTPError(422, "some arguments cannot be used", errors=binding.problems)
        return called, keywords

    def _keywords(self, binding: _Binding, count: int, params: Mapping[str, Any]) -> dict[str, Any]:
        given = {parameter.name for parameter in self.positional[:count]}
        keywords = {
            name: binding.value(parameter, params[name])
            for name, parameter in self.named.items()
            if name in params and name not in given
        }
        if self.fields is not None:
            unwanted = self.named.keys() | self.receivers
            keywords |= {
                name: binding.value(self.fields, value, name)
                for name, value in params.items()
                if name not in unwanted
            }
        return keywords


class _Binding:
    """Converts the values of one request and remembers which of them cannot be used."""

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: list[dict[str, str]] = []

    def value(self, parameter: Parameter, value: Any, name: str = "") -> Any:
        if parameter.convert is None:
            return value
        try:
            return parameter.convert(value)
        except Unusable as misfit:
            self.problems.append({"field": name or parameter.name, "message": str(misfit)})
            return None


def signature_of(function: Callable[..., Any], label: str) -> Signature:
    """Compile the signature of a method; of a wrapped one, the wrapped one's.

    Raises:
        ConfigurationError: when the method has no parameter for its controller.
    """
    written = list(inspect.signature(function).parameters.values())
    if not written or written[0].kind not in (_POSITIONAL_ONLY, _POSITIONAL_OR_KEYWORD):
        raise ConfigurationError(f"{label} is exposed but takes no self: expose methods of controllers")
    parameters = [(_compiled(p, function), p.kind) for p in written[1:]]
    positional = tuple(p for p, kind in parameters if kind in (_POSITIONAL_ONLY, _POSITIONAL_OR_KEYWORD))
    keyword_only = [p for p, kind in parameters if kind is inspect.Parameter.KEYWORD_ONLY]
    return Signature(
        positional=positional,
        surplus=next((p for p, kind in parameters if kind is inspect.Parameter.VAR_POSITIONAL), None),
        named={
            p.name: p
            for p, kind in parameters
            if kind in (_POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        },
        fields=next((p for p, kind in parameters if kind is inspect.Parameter.VAR_KEYWORD), None),
        required=(
            *((position, p.name) for position, p in enumerate(positional) if p.required),
            *((_BEHIND_ALL, p.name) for p in keyword_only if p.required),
        ),
        receivers=frozenset(_receivers(function)),
        text=f"({', '.join(_written(written[1:]))})",
        returns=_returned(function),
    )


def _compiled(parameter: inspect.Parameter, function: Callable[..., Any]) -> Parameter:
    variadic = parameter.kind in _VARIADIC
    optional = parameter.default is not parameter.empty
    annotation = _resolved(parameter, function)
    return Parameter(
        name=parameter.name,
        required=not (variadic or optional),
        convert=_converter(parameter, annotation, parameter.default if optional else Ellipsis),
    )


def _converter(parameter: inspect.Parameter, annotation: Any, default: Any) -> Converter | None:
    if annotation is not parameter.empty:
        return conversion(annotation, default)
    return None if parameter.kind in _VARIADIC else SINGLE  # `**fields` takes the fields as they came


def _resolved(parameter: inspect.Parameter, function: Callable[..., Any]) -> Any:
    """A parameter's annotation, or `empty`; one that cannot be resolved spoils no other."""
    if parameter.annotation is parameter.empty:
        return parameter.empty
    return _evaluated(parameter.annotation, function, parameter.empty)


def _returned(function: Callable[..., Any]) -> Any:
    annotation = inspect.signature(function).return_annotation
    return None if annotation is inspect.Signature.empty else _evaluated(annotation, function, None)


def _evaluated(annotation: Any, function: Callable[..., Any], otherwise: Any) -> Any:
    unwrapped = inspect.unwrap(function)
    alone = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(
            alone, globalns=getattr(unwrapped, "__globals__", {}), include_extras=True
        )["it"]
    except Exception:  # noqa: BLE001  an annotation is evaluated code: it may raise anything
        return otherwise


def _receivers(function: Callable[..., Any]) -> Iterator[str]:
    layer: Any = function
    while layer is not None:
        if isinstance(layer, FunctionType) and layer.__code__.co_argcount:
            yield layer.__code__.co_varnames[0]
        layer = getattr(layer, "__wrapped__", None)


def _written(parameters: Sequence[inspect.Parameter]) -> Iterator[str]:
    """The parameters as `inspect` would write them, without quotes around annotations."""
    starred = False
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            yield "*"
        starred = starred or parameter.kind in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.KEYWORD_ONLY,
        )
        yield _one_written(parameter)


def _one_written(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    if not isinstance(annotation, str):
        return str(parameter)
    bare = str(parameter.replace(annotation=parameter.empty, default=parameter.empty))
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{bare}: {annotation}{default}"


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_POSITIONAL_OR_KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD
_BEHIND_ALL = 1 << 30
