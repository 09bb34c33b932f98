"""Writes the parts of the documentation that are facts of the code: `make docs`.

The lifecycle's diagram comes from its table, the settings' reference from their dataclass. The tests compare.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from pathlib import Path

from millstream.config import Settings
from millstream.protocol.lifecycle import FINAL, TRANSITIONS, Event, State

ROOT = Path(__file__).parent.parent


def lifecycle() -> str:
    """The table as a Mermaid state diagram; late events that change nothing are left out."""
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR", "    [*] --> WAITING"]
    for state, known in TRANSITIONS.items():
        leading: dict[State, list[Event]] = defaultdict(list)
        for event, following in known.items():
            if following is not state:
                leading[following].append(event)
        lines += [
            f"    {state.name} --> {following.name}: {', '.join(event.value for event in events)}"
            for following, events in leading.items()
        ]
    lines += [f"    {state.name} --> [*]" for state in State if state in FINAL]
    return "\n".join([*lines, "```"])


def settings() -> str:
    """One row a setting."""
    lines = [
        "| setting | type | default | per action | what it decides |",
        "|---|---|---|---|---|",
    ]
    for setting in dataclasses.fields(Settings):
        default = "none" if setting.default is None else str(setting.default).lower()
        kind = str(setting.type).replace("|", "or")
        per_action = "yes" if setting.metadata["per_action"] else ""
        explanation = setting.metadata["explanation"]
        lines.append(f"| `{setting.name}` | {kind} | {default} | {per_action} | {explanation} |")
    return "\n".join(lines)


SECTIONS = {
    ("ARCHITECTURE.md", "lifecycle"): lifecycle,
    ("docs/reference/settings.md", "settings"): settings,
}


def rendered(file: str, name: str) -> str:
    """A file's text with one section made anew."""
    text = (ROOT / file).read_text(encoding="utf-8")
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    section = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    return section.sub(lambda _: f"{begin}\n{SECTIONS[file, name]()}\n{end}", text)


if __name__ == "__main__":
    for file, name in SECTIONS:
        (ROOT / file).write_text(rendered(file, name), encoding="utf-8")
