"""Statements: what running one does to its transaction, as far as its text tells.

The answer decides whether a connection may be given back in the middle of a stream, so the doubt is on
the side of keeping it: only what is known to read counts as reading.
"""

from __future__ import annotations

import re
from enum import IntEnum, unique
from functools import lru_cache
from typing import Final


@unique
class Effect(IntEnum):
    """What a transaction holds after a statement; the greatest of all its statements is its own."""

    READS = 0  # nothing that could be lost
    UNKNOWN = 1  # it calls functions, which may do anything: the database has to be asked
    WRITES = 2  # rows, locks or settings


def effect_of(statement: str) -> Effect:
    """What running a statement does."""
    return _remembered(statement) if len(statement) <= _LONGEST_REMEMBERED else _effect(statement)


def _effect(statement: str) -> Effect:
    bare = _QUOTED.sub("''", statement).lower()
    verb = _VERB.match(bare)
    if verb is None or verb[1] not in _READING or _WRITING.search(bare):
        return Effect.WRITES
    called = set(_CALL.findall(bare))
    return Effect.READS if called <= _HARMLESS else Effect.UNKNOWN


_LONGEST_REMEMBERED: Final = 8192
_remembered: Final = lru_cache(maxsize=1024)(_effect)

# Comments go with the quoted texts. A dollar-quoted text (PostgreSQL) stays and can only make us doubt.
_QUOTED: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_VERB: Final = re.compile(r"[\s(']*([a-z]+)")
# A savepoint writes nothing; while it is open the session says so itself.
_READING: Final = frozenset(
    {"select", "values", "table", "with", "show", "fetch", "savepoint", "release", "rollback"}
)
# `for update` locks rows, `select … into` makes a table, `set_config` is a SET that can be called, a `with`
# may hold any of the others.
_WRITING: Final = re.compile(r"\b(?:insert|update|delete|merge|into|set_config|for\s+(?:key\s+)?share)\b")
_CALL: Final = re.compile(r"([a-z_][a-z0-9_.$]*)\s*\(")
_HARMLESS: Final = frozenset(
    """
    all and any array as between by case cast distinct else exists filter from group having in intersect
    is join lateral like ilike limit not offset on or order over partition select some then union except
    using values when where with
    abs avg ceil coalesce concat count cume_dist date date_part date_trunc dense_rank extract first_value
    floor generate_series greatest ifnull iif instr json_extract julianday lag last_value lead least left
    length lower ltrim max min mod now ntile nullif numeric octet_length percent_rank position random rank
    replace right round row_number rtrim sign sqrt strftime string_agg substr substring sum to_char total
    trim typeof upper varchar char decimal timestamp time
    """.split()  # noqa: SIM905  a list of 90 short words is read as a text
)
"""Words that stand before a parenthesis and call nothing, or nothing that writes."""
