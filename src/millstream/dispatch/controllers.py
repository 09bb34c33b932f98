"""The classes authors derive their controllers from. How they dispatch is decided by `Tree`."""

from __future__ import annotations

from starlette.types import ASGIApp

from millstream.errors import ConfigurationError


class TGController:
    """A controller whose exposed methods and sub-controllers are found by their names (object dispatch).

    Names with a meaning of their own, all optional, all sync or async:

    * `index` answers where the path ends at this controller.
    * `_default(*segments)`, exposed, answers what nothing else here or below does.
    * `_lookup(*segments)` returns `(controller, remaining segments)` to go on with, or None; it is asked
      after `_default`.
    * `_before(*args, **params)` and `_after(*args, **params)` surround every action here and below.
    * `_check_security()` is asked on the way in; it may raise, and False is a 403.
    """


Controller = TGController


class RestController(TGController):
    """A controller whose methods are chosen by the request's HTTP method.

    ============================  =========================================================
    request                       method, first that is there
    ============================  =========================================================
    GET /movies                   `get_all`, `get`, `get_one`
    GET /movies/1                 `get_one`, `get`
    GET /movies/new               `new`
    GET /movies/1/edit            `edit`
    GET /movies/1/delete          `get_delete`, `delete`
    GET /movies/1/cast            `get_cast`, `cast`
    POST /movies                  `post`
    PUT /movies/1                 `put`
    PATCH /movies/1               `patch`
    DELETE /movies/1              `post_delete`, `delete`
    POST /movies?_method=PUT      as PUT; likewise DELETE, PATCH
    POST /movies?_method=archive  `post_archive`, `archive`
    any /movies/1/actors          the sub-controller `actors`, after as many segments as `get_one` takes
    ============================  =========================================================
    """


class ASGIAppController(TGController):
    """Mounts an ASGI application: it answers everything below the controller's name.

    Raises:
        ConfigurationError: when the application cannot be called.
    """

    def __init__(self, app: ASGIApp) -> None:
        if not callable(app):
            raise ConfigurationError(
                f"ASGIAppController was given a {type(app).__name__}, which is no ASGI application"
            )
        self.app = app
