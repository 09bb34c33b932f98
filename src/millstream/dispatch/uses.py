"""Uses: what the code of controllers names that has to settle with its request, found without running it.

A session whose database is none of the application's participants fails at its first use. Most such uses can
be seen before: the code names the session, as a global variable, as a part of a module or of an object, or as
an attribute of its controller. Functions and classes of the author's that the code names are looked at, too.
"""

from __future__ import annotations

import dis
import inspect
import sysconfig
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any, Final

from millstream.dispatch.traversal import Tree
from millstream.errors import ConfigurationError
from millstream.protocol.ports import Participant, Settled


def require_settled(tree: Tree, participants: Collection[Participant]) -> None:
    """See that whatever controllers use settles with their requests, as far as their code tells.

    Raises:
        ConfigurationError: when something belongs to a participant that the application does not have.
    """
    seen: set[object] = set()
    for node in tree.nodes:
        for function in _functions(type(node.controller)):
            for label, used in _uses(function, node.controller, seen):
                if used.participant not in participants:
                    raise ConfigurationError(
                        f"{label} uses a session of {used.participant!r}, which is none of the participants "
                        "of the application, so that nothing would be committed: write Millstream(…, "
                        "participants=[database]), or name the database in the ini file, as "
                        "participants = shop.model:database"
                    )


def _functions(cls: type) -> Iterator[FunctionType]:
    """The methods of a class that its author has written."""
    for base in cls.__mro__:
        for member in vars(base).values():
            function = getattr(member, "__func__", member) if type(member) in _WRAPPED else member
            if type(function) is FunctionType and _is_authors(function.__code__):
                yield function


def _uses(function: FunctionType, owner: object, seen: set[object]) -> Iterator[tuple[str, Settled]]:
    """What a function uses, and whatever it names; with the name of the function that does."""
    key = (function, id(owner))
    if key in seen:
        return
    seen.add(key)
    for named in _named(function, owner):
        if issubclass(type(named), Settled):
            yield function.__qualname__, named  # type: ignore[misc]  # as was just seen
        elif type(named) is FunctionType and _is_authors(named.__code__):
            yield from _uses(named, owner if _is_method(named, owner) else None, seen)
        elif isinstance(named, type):
            for method in _functions(named):
                yield from _uses(method, None, seen)


def _named(function: FunctionType, owner: object) -> Iterator[object]:
    """The objects that a function's code names, by itself and as parts of others."""
    names: dict[str, object] = dict(function.__globals__)
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    names |= {name: _content(cell) for name, cell in cells}
    this = function.__code__.co_varnames[0] if owner is not None and function.__code__.co_argcount else ""
    if this:
        names[this] = owner  # as a function inside of it sees it
    yield from _chains(function.__code__, names, this, owner)


def _chains(code: CodeType, names: Mapping[str, object], this: str, owner: object) -> Iterator[object]:
    current: object = None
    for instruction in dis.get_instructions(code):
        if instruction.opname in _LOADS:
            current = names.get(instruction.argval)
        elif instruction.opname.startswith("LOAD_FAST"):  # a local variable, which may be the controller
            current = owner if instruction.argval == this else None
        elif instruction.opname in _PARTS and current is not None:
            current = inspect.getattr_static(current, instruction.argval, None)
        elif instruction.opname not in _BETWEEN:
            current = None
        if current is not None:
            yield current
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _chains(inner, names, "", None)


def _content(cell: Any) -> object:
    """What a closure holds; Any, because that is what the type checker calls a cell."""
    try:
        return cell.cell_contents
    except ValueError:  # nothing yet
        return None


def _is_method(function: FunctionType, owner: object) -> bool:
    return owner is not None and inspect.getattr_static(type(owner), function.__name__, None) is function


def _is_authors(code: CodeType) -> bool:
    """Whether code is neither of Python, nor of an installed package, nor of Millstream."""
    return not code.co_filename.startswith(_INSTALLED)


_WRAPPED: Final = (staticmethod, classmethod, MethodType)
_LOADS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"})
_PARTS: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_BETWEEN: Final = frozenset({"CACHE", "PUSH_NULL", "PRECALL", "EXTENDED_ARG", "COPY_FREE_VARS"})
_INSTALLED: Final = (
    "<",
    str(Path(__file__).parent.parent),
    *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
)
