from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from millstream.errors import OutsideRequest
from millstream.protocol.ports import StreamHandle
from millstream.web.proxies import (
    Binding,
    TemplateContext,
    request,
    request_var,
    response,
    stream,
    stream_var,
    tmpl_context,
)
from millstream.web.request import Request
from millstream.web.response import Response

PROXIES = {"request": request, "response": response, "tmpl_context": tmpl_context, "stream": stream}


def asked(path: str) -> Request:
    return Request({"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []})


@contextmanager
def answering(path: str) -> Iterator[tuple[Request, Response, StreamHandle]]:
    handle = cast("StreamHandle", object())  # what it does is another room's affair
    bound = asked(path), Response(), handle
    binding = Binding.bind(*bound)
    try:
        yield bound
    finally:
        binding.release()


def test_each_name_means_this_requests_object() -> None:
    with answering("/") as (asked_for, to_come, handle):
        assert request._current_obj() is asked_for
        assert response._current_obj() is to_come
        assert stream._current_obj() is handle  # type: ignore[attr-defined]  # the proxy's own, for every object
        assert isinstance(tmpl_context._current_obj(), TemplateContext)


def test_what_is_read_set_and_deleted_is_the_objects() -> None:
    with answering("/orders") as (_, to_come, _):
        assert request.path_info == "/orders"
        response.status = 201
        assert to_come.status == 201
        tmpl_context.user = "Ann"
        del tmpl_context.user
        assert tmpl_context.user == ""


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize(
    "use",
    [
        lambda proxy: proxy.path_info,
        lambda proxy: setattr(proxy, "status", 1),
        lambda proxy: delattr(proxy, "status"),
        lambda proxy: proxy._current_obj(),
    ],
)
def test_outside_a_request_every_use_says_so(name: str, use: Callable[[Any], Any]) -> None:
    with pytest.raises(OutsideRequest, match=f"^{name} was used outside a request"):
        use(PROXIES[name])


@pytest.mark.parametrize("name", PROXIES)
def test_outside_a_request_it_may_still_be_looked_at(name: str) -> None:
    proxy = PROXIES[name]
    assert repr(proxy) == f"<{name} of no request>"
    assert not inspect.isawaitable(proxy)
    assert not hasattr(proxy, "__wrapped__")


def test_it_looks_like_its_object() -> None:
    with answering("/") as (asked_for, _, _):
        assert repr(request) == repr(asked_for)


def test_an_inner_request_gives_way_to_the_outer_one_again() -> None:
    with answering("/outer"):
        with answering("/inner"):
            assert request.path_info == "/inner"
        assert request.path_info == "/outer"
    assert all(variable.get(None) is None for variable in (request_var, stream_var))


async def test_two_requests_at_once_never_see_each_other() -> None:
    seen: dict[str, list[str]] = {"/a": [], "/b": []}

    async def visit(path: str) -> None:
        with answering(path):
            for _ in range(3):
                seen[path].append(request.path_info)
                await asyncio.sleep(0)

    await asyncio.gather(visit("/a"), visit("/b"))
    assert seen == {"/a": ["/a"] * 3, "/b": ["/b"] * 3}


def test_a_name_nobody_set_is_empty_in_a_template() -> None:
    context = TemplateContext()
    assert context.title == ""
    assert not hasattr(context, "__html__")


def test_a_template_context_can_be_copied() -> None:
    context = TemplateContext()
    context.title = "Orders"
    assert copy.copy(context).title == "Orders"


def test_the_current_object_of_a_template_context_is_itself() -> None:
    context = TemplateContext()
    assert context._current_obj() is context
