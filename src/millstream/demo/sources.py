"""The source code of the demo's actions as HTML: the page shows what it runs."""

from __future__ import annotations

import html
import inspect
import io
import keyword
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final


def shown(action: Callable[..., Any]) -> str:
    """The source of one action, marked up for `style.css`."""
    code = _NOQA.sub("", textwrap.dedent(inspect.getsource(action)))
    return "".join(_marked(code))


def _marked(code: str) -> Iterator[str]:
    lines = code.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    at, before = 0, ""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        begin, end = (starts[row - 1] + column for row, column in (token.start, token.end))
        kind = _kind(token, before)
        if kind and end > begin:
            yield html.escape(code[at:begin], quote=False)
            yield f'<span class="{kind}">{html.escape(code[begin:end], quote=False)}</span>'
            at = end
        before = token.string
    yield html.escape(code[at:], quote=False)


def _kind(token: tokenize.TokenInfo, before: str) -> str:
    if token.type == tokenize.NAME:
        if before in {"def", "class"}:
            return "name"
        if before == "@":
            return "decorator"
        return "keyword" if keyword.iskeyword(token.string) else ""
    return _KINDS.get(token.type, "")


_NOQA: Final = re.compile("  # noqa: .*")
_KINDS: Final[Mapping[int, str]] = {
    tokenize.STRING: "string",
    tokenize.NUMBER: "number",
    tokenize.COMMENT: "comment",
}
