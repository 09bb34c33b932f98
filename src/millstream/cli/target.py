"""From `package.module:app` to an application, with one sentence for each way this can fail."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from millstream.app import Millstream
from millstream.cli.deployment import Deployment
from millstream.cli.values import Given
from millstream.config import Settings
from millstream.dispatch.controllers import TGController
from millstream.errors import ConfigurationError
from millstream.protocol.ports import Participant

ASGI_PARAMETERS: Final = 3  # scope, receive, send


def load(deployment: Deployment) -> Any:
    """The application: any ASGI callable, since Millstream may stand inside another one.

    Raises:
        ConfigurationError: when it cannot be imported or built; its cause is what the author's code raised.
    """
    named = deployment.application
    found, called = _find(named)
    if deployment.is_root:
        root = _root(found, named)
        return Millstream(root, deployment.settings, participants=_participants(deployment.participants))
    if deployment.participants is not None:
        raise ConfigurationError(
            f"{deployment.participants.name} has no effect, because {named.text} makes its own application: "
            f"write Millstream(…, participants=[…]) there, or name a root instead of {named.text}"
        )
    if _is_factory(found, called=called, named=named):
        return _built(found, deployment)
    if not callable(found):
        raise ConfigurationError(
            f"{named.text}, which {named.name} names, is {_kind(found)}: "
            "it must be an ASGI application or a factory"
        )
    _refuse_unreachable(deployment.given, f"{named.text} was built with its own settings")
    return found


def _find(named: Given, wanted: str = "package.module:app or package.module:factory()") -> tuple[Any, bool]:
    """The object, and whether it is written with `()`."""
    written = re.fullmatch(rf"({_DOTTED}):({_DOTTED})(\(\))?", named.text)
    if written is None:
        raise ConfigurationError(
            f"{named.name} is {named.text!r}: it must be {wanted}"
            + ("" if named.name != "the target" else ", or the name of an ini file that ends with .ini")
        )
    module_name, path, call = written.groups()
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    module = _imported(module_name, named)
    try:
        return reduce(getattr, path.split("."), module), bool(call)
    except AttributeError:
        file = getattr(module, "__file__", None) or "the interpreter"
        raise ConfigurationError(
            f"the module {module_name} has no {path}, which {named.name} names (it was loaded from {file})"
        ) from None


def _imported(name: str, named: Given) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        # Only when the named module itself or a package above it is missing is the name wrong;
        # otherwise it is the module's own import that failed.
        if missing.name and f"{name}.".startswith(f"{missing.name}."):
            raise ConfigurationError(
                f"there is no module {missing.name}, which {named.name} names (looked in {Path.cwd()} "
                "and the installed packages)"
            ) from None
        raise ConfigurationError(_failure(f"importing {name}", missing)) from missing
    except (Exception, SystemExit) as failed:
        raise ConfigurationError(_failure(f"importing {name}", failed)) from failed


def _root(found: object, named: Given) -> TGController:
    if isinstance(found, TGController):
        return found
    if not (inspect.isclass(found) and issubclass(found, TGController)):
        raise ConfigurationError(
            f"{named.text}, which {named.name} names, is {_kind(found)}: it must be a TGController"
        )
    try:
        return found()
    except Exception as failed:
        raise ConfigurationError(_failure(f"making {named.text}", failed)) from failed


def _participants(names: Given | None) -> Sequence[Participant]:
    if names is None:
        return []
    if not (found := _NAMES.findall(names.text)):
        raise ConfigurationError(f"{names.name} names nothing: write {names.name.split()[0]} = {_DATABASE}")
    return [_participant(Given(text, names.name)) for text in found]


def _participant(named: Given) -> Participant:
    found, called = _find(named, wanted=_DATABASE)
    if called or inspect.isclass(found) or not _begins_requests(found):
        raise ConfigurationError(
            f"{named.text}, which {named.name} names, is {_kind(found)}{' being called' * called}: "
            f"it must be a participant, such as the Database that {_DATABASE} would name"
        )
    return cast("Participant", found)


def _begins_requests(found: object) -> bool:
    """Whether it is a participant; a session and an engine have a `begin` of another kind."""
    begin = getattr(found, "begin", None)
    return callable(begin) and len(_positional(begin)) == 1 and not hasattr(found, "execute")


def _is_factory(found: object, *, called: bool, named: Given) -> bool:
    if inspect.isclass(found) and issubclass(found, TGController):
        raise ConfigurationError(
            f"{named.text} is a controller, not an application: write root = {named.text} in an ini file, "
            f"or app = Millstream({found.__name__}()) in the module"
        )
    return called or inspect.isclass(found) or (inspect.isroutine(found) and not _is_asgi(found))


def _is_asgi(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or len(_positional(function)) == ASGI_PARAMETERS


def _positional(function: Any) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some built-in functions do not tell
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter for parameter in parameters if parameter.kind in kinds]


def _built(factory: Any, deployment: Deployment) -> Any:
    named = deployment.application
    arguments: tuple[Settings, ...] = ()
    if not callable(factory) or inspect.iscoroutinefunction(factory):
        raise ConfigurationError(f"{named.text} cannot be called as a factory: it is {_kind(factory)}")
    if _positional(factory):
        arguments = (deployment.settings,)
    else:
        _refuse_unreachable(deployment.given, f"the factory {named.text} takes no Settings")
    try:
        application = factory(*arguments)
    except Exception as failed:
        raise ConfigurationError(_failure(f"calling {named.text}", failed)) from failed
    if not callable(application):
        raise ConfigurationError(
            f"the factory {named.text} returned {_kind(application)}: it must return an ASGI application"
        )
    return application


def _refuse_unreachable(given: Mapping[str, Given], because: str) -> None:
    # A setting that somebody wrote and nobody obeys is worse than an error.
    for setting in given.values():
        raise ConfigurationError(
            f"{setting.name} has no effect, because {because}: name a factory that takes Settings, or a root"
        )


def _failure(doing: str, failed: BaseException) -> str:
    """What the author's code raised, and the line of theirs it came from."""
    said = traceback.format_exception_only(failed)[-1].strip()
    if isinstance(failed, SyntaxError):
        return f"{doing} failed: {said} ({failed.filename}, line {failed.lineno})"
    frames = traceback.extract_tb(failed.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(Path.cwd())] or frames
    return f"{doing} failed: {said} ({own[-1].filename}, line {own[-1].lineno})"


def _kind(found: object) -> str:
    return f"a {type(found).__name__}" if not inspect.isclass(found) else f"the class {found.__name__}"


_DOTTED: Final = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"

_NAMES: Final = re.compile(r"[^\s,]+")
_DATABASE: Final = "package.model:database"
