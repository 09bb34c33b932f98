"""The source code that the page shows."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest

from millstream.demo import app, page
from millstream.demo.sources import shown


def example(word: str = "<&>") -> str:
    # a comment
    return word * 2


def test_words_are_marked_by_their_kind_and_escaped() -> None:
    assert shown(example) == (
        '<span class="keyword">def</span> <span class="name">example</span>'
        '(word: str = <span class="string">"&lt;&amp;&gt;"</span>) -&gt; str:\n'
        '    <span class="comment"># a comment</span>\n'
        '    <span class="keyword">return</span> word * <span class="number">2</span>\n'
    )


@pytest.mark.parametrize(
    "action", [app.RootController.flights, app.RootController.job, page.Generators.stream_list]
)
def test_the_text_is_the_source_and_begins_with_its_decorators(action: Callable[..., Any]) -> None:
    text = html.unescape(re.sub("<[^>]*>", "", shown(action)))
    assert text.startswith("@expose(")
    assert f"def {action.__name__}(" in text
    compile(text, "shown", "exec")
