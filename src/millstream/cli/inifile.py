"""Ini files as TurboGears people know them: `[DEFAULT]`, `[app:main]`, `[server:main]`, `%(here)s`.

What a file says is either understood or refused: a key that means nothing to us would look like a
setting that is in force. `[DEFAULT]` may hold settings of both other sections, and variables that
some value refers to.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from millstream.cli.spelling import meant
from millstream.cli.values import Given
from millstream.errors import ConfigurationError

DEFAULT: Final = "DEFAULT"
APPLICATION: Final = "app:main"
SERVER: Final = "server:main"
ENTRIES: Final = ("use", "root")
PARTICIPANTS: Final = "participants"
NAMES: Final = frozenset({*ENTRIES, PARTICIPANTS})
"""The keys of `[app:main]` that name what is imported; everything else there is a setting."""


@dataclass(frozen=True, slots=True)
class IniFile:
    """What one file says."""

    application: Given
    is_root: bool  # whether `root` names it, a controller, and not `use`
    participants: Given | None  # the names of what settles with its streams
    settings: dict[str, Given]
    server: dict[str, Given]


def read(path: Path, *, settings: AbstractSet[str], server: AbstractSet[str]) -> IniFile:
    """Read a file; `settings` and `server` are the keys known in `[app:main]` and `[server:main]`.

    Raises:
        ConfigurationError: when the file cannot be read or says anything that is not known.
    """
    pages = _Pages(path, _sections(path))
    application = pages.resolved(APPLICATION, settings | NAMES, elsewhere={SERVER: server})
    options = pages.resolved(SERVER, server, elsewhere={APPLICATION: settings})
    pages.check_defaults(settings | server)
    entries = [name for name in ENTRIES if name in application]
    if len(entries) != 1:
        raise ConfigurationError(
            f"[{APPLICATION}] of {path} must name the application once: either "
            "use = package.module:app or root = package.module:RootController"
        )
    return IniFile(
        application=application.pop(entries[0]),
        is_root=entries[0] == "root",
        participants=application.pop(PARTICIPANTS, None),
        settings=application,
        server=options,
    )


def _sections(path: Path) -> dict[str, dict[str, str]]:
    # [DEFAULT] is read as a section like the others, and values are resolved by us: only so can be told
    # in which section a key stands and whether a variable is used.
    parser = configparser.ConfigParser(interpolation=None, default_section="\n")
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep case
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except FileNotFoundError:
        raise ConfigurationError(f"there is no file {path} (looked in {Path.cwd()})") from None
    except OSError as refused:
        raise ConfigurationError(f"the file {path} cannot be read: {refused.strerror}") from None
    except UnicodeDecodeError as wrong:
        raise ConfigurationError(
            f"the file {path} is not UTF-8: byte {wrong.start} does not decode"
        ) from None
    except configparser.Error as wrong:
        raise ConfigurationError(_malformed(path, wrong)) from None
    return {name: dict(parser[name]) for name in parser.sections()}


def _malformed(path: Path, wrong: configparser.Error) -> str:
    match wrong:
        case configparser.DuplicateOptionError():
            return (
                f"line {wrong.lineno} of {path} sets {wrong.option} in [{wrong.section}] for the second time"
            )
        case configparser.DuplicateSectionError():
            return f"line {wrong.lineno} of {path} opens the section [{wrong.section}] for the second time"
        case configparser.MissingSectionHeaderError():
            return f"line {wrong.lineno} of {path} stands before the first section: open one, as [{DEFAULT}]"
        case configparser.ParsingError(errors=[(line, _), *_]):
            return f"line {line} of {path} is neither a section, nor name = value, nor a comment"
        case _:
            return f"the file {path} is no ini file: {wrong}"


@dataclass(slots=True)
class _Pages:
    path: Path
    sections: Mapping[str, Mapping[str, str]]
    used: set[str] = field(default_factory=set)  # variables some value referred to

    def __post_init__(self) -> None:
        known = (DEFAULT, APPLICATION, SERVER)
        for section in self.sections:
            if section not in known:
                raise ConfigurationError(
                    f"the section [{section}] of {self.path} is not known: {meant(section, known)}"
                )
        if APPLICATION not in self.sections:
            raise ConfigurationError(
                f"{self.path} has no section [{APPLICATION}], which names the application"
            )

    def resolved(
        self, section: str, known: AbstractSet[str], *, elsewhere: Mapping[str, AbstractSet[str]]
    ) -> dict[str, Given]:
        """The section's values, on top of those of [DEFAULT] that belong here."""
        own = self.sections.get(section, {})
        for key in own:
            if key not in known:
                raise ConfigurationError(self._unknown(key, section, known, elsewhere))
        inherited = {key for key in self.sections.get(DEFAULT, {}) if key in known}
        places = dict.fromkeys(inherited, DEFAULT) | dict.fromkeys(own, section)
        return {
            key: Given(self._value(place, key, ()), self._name(key, place)) for key, place in places.items()
        }

    def check_defaults(self, known: AbstractSet[str]) -> None:
        """Refuse what stands in [DEFAULT] and is neither a setting nor a variable in use."""
        for key in self.sections.get(DEFAULT, {}):
            if key not in known and key not in self.used:
                raise ConfigurationError(self._unknown(key, DEFAULT, known, {APPLICATION: NAMES}))

    def _unknown(
        self,
        key: str,
        section: str,
        known: AbstractSet[str],
        elsewhere: Mapping[str, AbstractSet[str]],
    ) -> str:
        for other, keys in elsewhere.items():
            if key in keys:
                return f"{self._name(key, section)} stands in the wrong section: it belongs in [{other}]"
        return f"{self._name(key, section)} is not known: {meant(key, known)}"

    def _name(self, key: str, section: str) -> str:
        return f"{key} in [{section}] of {self.path}"

    def _value(self, section: str, key: str, above: tuple[str, ...]) -> str:
        """One value with the variables it refers to put in; `above` are those that led here."""

        def put_in(reference: re.Match[str]) -> str:
            variable = reference["variable"]
            if variable is None:
                if reference[0] == "%%":
                    return "%"
                raise ConfigurationError(
                    f"{self._name(key, section)} has a % that refers to nothing: write %% for the sign itself"
                )
            return self._variable(section, key, variable, above)

        return _REFERENCE.sub(put_in, self.sections[section][key])

    def _variable(self, section: str, key: str, variable: str, above: tuple[str, ...]) -> str:
        if variable in (*above, key):
            raise ConfigurationError(f"{self._name(key, section)} refers to itself through %({variable})s")
        for place in (section, DEFAULT):
            if variable in self.sections.get(place, {}):
                self.used.add(variable)
                return self._value(place, variable, (*above, key))
        if variable == "here":
            return str(self.path.resolve().parent)
        raise ConfigurationError(f"{self._name(key, section)} refers to %({variable})s, which stands nowhere")


_REFERENCE: Final = re.compile(r"%(?:%|\((?P<variable>[^)]*)\)s)?")
