"""Cells: what PostgreSQL has to be asked for, so that it writes a value as the codecs do.

A table a dialect, by the numbers of PostgreSQL's types: an expression in SQL with `{c}` for the column, or a
rule that makes one of what is known of the column. A type that is not in the table is written otherwise by
PostgreSQL than by anybody else (intervals, JSON, arrays, composites), or not known, and then the query goes
the plain way, all of it.

Moments that Python cannot hold (infinity, years before 1 and after 9999) end the plain way with an error.
Here they are written as PostgreSQL writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from millstream.protocol.dialects import CsvDialect, Dialect, JsonLines, RecordBatches


@dataclass(frozen=True, slots=True)
class Described:
    """A column of a result, as PostgreSQL describes it."""

    type: int  # its number, those of domains being resolved
    precision: int | None  # of a numeric, if it was declared, …
    scale: int | None  # … and its digits behind the point
    in_utc: bool  # whether the session shows moments in UTC


def expression_for(dialect: Dialect, column: Described) -> str | None:
    """The expression of a cell; None when PostgreSQL cannot write it to the byte."""
    rule = _TABLES[type(dialect)].get(column.type)
    return rule(column) if callable(rule) else rule


def is_quoted(type_: int) -> bool:
    """Whether JSON has quotes around a value of this type."""
    return type_ not in _BARE


_Rule = str | Callable[[Described], str | None]

_BOOL, _BYTEA, _INT8, _INT2, _INT4, _TEXT, _OID = 16, 17, 20, 21, 23, 25, 26
_FLOAT4, _FLOAT8, _CHAR, _VARCHAR, _DATE, _TIME = 700, 701, 1042, 1043, 1082, 1083
_TIMESTAMP, _TIMESTAMPTZ, _NUMERIC, _UUID = 1114, 1184, 1700, 2950  # see `pg_type.dat`: they never change

_BARE: Final = frozenset({_BOOL, _INT2, _INT4, _INT8, _OID, _FLOAT8, _NUMERIC})
_AS_IT_IS: Final = "{c}"
_TRUTH: Final = "CASE WHEN {c} THEN 'true' WHEN NOT {c} THEN 'false' END"
_BASE64: Final = "translate(encode({c}, 'base64'), chr(10), '')"  # it breaks lines, as in MIME

# The shortest digits that are read back as the same float. PostgreSQL takes none that lie half-way to the
# next float, Python does. There are short numbers half-way only where floats are whole, from 2^53 on.
# Of the very largest the short ones may be rounded up to what is no float any more.
_SHORTEST: Final = (
    "(SELECT regexp_replace(ltrim(t), '\\.?0*e', 'e') FROM (VALUES"
    " (1, to_char({c}, '9.99999999999999EEEE')),"
    " (2, to_char({c}, '9.999999999999999EEEE')),"
    " (3, {c}::text)) AS shortest(n, t)"
    " WHERE CASE WHEN abs({c}) > 1.79e308 THEN n = 3 ELSE t::float8 = {c} END ORDER BY n LIMIT 1)"
)


def _float(*, small: str, large: str, nan: str, infinite: str) -> str:
    """A float with a point in it; `small` are those with a fraction, `large` those from 1e16 on."""
    return (
        "CASE WHEN abs({c}) < 1e15"
        f" THEN CASE WHEN {{c}} = trunc({{c}}) THEN {{c}}::text || '.0' ELSE {small} END"
        " WHEN abs({c}) < 1e16 THEN CASE WHEN {c} = trunc({c}) THEN {c}::bigint::text || '.0'"
        " ELSE {c}::text::numeric::text END"
        f" WHEN {{c}} IS NULL THEN NULL WHEN {{c}} = 'NaN' THEN {nan}"
        f" WHEN abs({{c}}) = 'Infinity' THEN {infinite} ELSE {large} END"
    )


_CSV_FLOAT: Final = _float(small="{c}::text", large=_SHORTEST, nan="'NaN'", infinite="{c}::text")
_JSON_FLOAT: Final = _float(
    small="CASE WHEN abs({c}) >= 1e-4 THEN {c}::text WHEN abs({c}) >= 1e-5 THEN {c}::text::numeric::text"
    " ELSE replace({c}::text, 'e-0', 'e-') END",
    large=f"replace({_SHORTEST}, 'e+', 'e')",
    nan="NULL",
    infinite="NULL",
)

# `str` of a Decimal has an exponent if the value is below 1e-6.
_DECIMAL: Final = (
    "CASE WHEN scale({c}) <= 6 OR abs({c}) >= 0.000001 THEN {c}::text"
    " WHEN {c} = 0 THEN '0E-' || scale({c})"
    " ELSE (SELECT s || left(d, 1) || CASE WHEN length(d) > 1 THEN '.' || substr(d, 2) ELSE '' END"
    " || 'E' || (length(d) - 1 - scale({c}))"
    " FROM (SELECT CASE WHEN {c} < 0 THEN '-' ELSE '' END, ltrim({c}::text, '-0.')) AS digits(s, d)) END"
)
_FEW: Final = 6
"""Digits behind the point that a Decimal never has an exponent for."""
_MOST: Final = 38
"""Digits of a `decimal128`."""


def _csv_decimal(column: Described) -> str:
    return _AS_IT_IS if column.scale is not None and column.scale <= _FEW else _DECIMAL


def _json_decimal(column: Described) -> str:
    if column.scale is not None and column.scale <= _FEW:
        return "nullif({c}, 'NaN')"
    return f"CASE WHEN abs({{c}}) < 'Infinity' THEN {_DECIMAL} END"


def _arrow_decimal(column: Described) -> str | None:
    precision, scale = column.precision, column.scale
    if precision is None or scale is None or not 0 <= scale <= precision <= _MOST:
        return None
    return "nullif({c}, 'NaN')"


def _if_in_utc(expression: str) -> Callable[[Described], str | None]:
    return lambda column: expression if column.in_utc else None


_IN_RANGE: Final = "CASE WHEN {c} BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999'"
_ISO: Final = (
    "CASE WHEN {m} = date_trunc('second', {m}) THEN replace({m}::text, ' ', 'T')"
    " ELSE to_char({m}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US') END"
)
_JSON_TIMESTAMP: Final = f"{_IN_RANGE} THEN {_ISO.replace('{m}', '{c}')} ELSE {{c}}::text END"
_UTC_ISO: Final = _ISO.replace("{m}", "({c} AT TIME ZONE 'UTC')")
_JSON_TIMESTAMPTZ: Final = f"{_IN_RANGE} THEN {_UTC_ISO} || 'Z' ELSE {{c}}::text END"
_CSV_TIMESTAMPTZ: Final = _IN_RANGE + " THEN {c}::text || ':00' ELSE {c}::text END"
_ARROW_TIMESTAMPTZ: Final = (  # whatever zone it is shown in
    _IN_RANGE + " THEN ({c} AT TIME ZONE 'UTC')::text || '+00' ELSE {c}::text END"
)
_JSON_TIME: Final = "CASE WHEN strpos({c}::text, '.') > 0 THEN rpad({c}::text, 15, '0') ELSE {c}::text END"

_WHOLE: Final[Mapping[int, _Rule]] = dict.fromkeys((_INT2, _INT4, _INT8, _OID), _AS_IT_IS)
_EMPTY_IS_NULL: Final = "nullif({c}::text COLLATE \"C\", '')"

_TABLES: Final[Mapping[type, Mapping[int, _Rule]]] = {
    CsvDialect: {
        **_WHOLE,
        _BOOL: _TRUTH,
        _BYTEA: f"nullif({_BASE64}, '')",
        _TEXT: _EMPTY_IS_NULL,
        _VARCHAR: _EMPTY_IS_NULL,
        _CHAR: _AS_IT_IS,  # filled up with blanks, never empty
        _FLOAT8: _CSV_FLOAT,
        _NUMERIC: _csv_decimal,
        _DATE: _AS_IT_IS,
        _TIME: _AS_IT_IS,
        _TIMESTAMP: _AS_IT_IS,
        _TIMESTAMPTZ: _if_in_utc(_CSV_TIMESTAMPTZ),
        _UUID: _AS_IT_IS,
    },
    JsonLines: {
        **_WHOLE,
        _BOOL: _TRUTH,
        _BYTEA: _BASE64,
        _TEXT: _AS_IT_IS,
        _VARCHAR: _AS_IT_IS,
        _CHAR: _AS_IT_IS,
        _FLOAT8: _JSON_FLOAT,
        _NUMERIC: _json_decimal,
        _DATE: _AS_IT_IS,
        _TIME: _JSON_TIME,
        _TIMESTAMP: _JSON_TIMESTAMP,
        _TIMESTAMPTZ: _if_in_utc(_JSON_TIMESTAMPTZ),
        _UUID: _AS_IT_IS,
    },
    RecordBatches: {
        **_WHOLE,
        _BOOL: _AS_IT_IS,
        _TEXT: _AS_IT_IS,
        _VARCHAR: _AS_IT_IS,
        _CHAR: _AS_IT_IS,
        _FLOAT4: _AS_IT_IS,
        _FLOAT8: _AS_IT_IS,
        _NUMERIC: _arrow_decimal,
        _DATE: _AS_IT_IS,
        _TIME: _AS_IT_IS,
        _TIMESTAMP: _AS_IT_IS,
        _TIMESTAMPTZ: _ARROW_TIMESTAMPTZ,
        _UUID: _AS_IT_IS,
    },
}
