"""Who takes part: each peer, the server it is usually deployed on, and what has to be installed for it.

The peers' code is in `peers/`, one small file each. The tables of who takes part in what stand at the foot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from shutil import which

from servers import Launch, go, gunicorn, millstream, uvicorn, waitress

BOTH = ("sync", "async")
SYNC = ("sync",)
ASYNC = ("async",)


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    launch: Launch
    needs: tuple[str, ...] = ()  # distributions; `go` is the compiler
    kinds: tuple[str, ...] = BOTH  # of generators it streams

    @property
    def missing(self) -> str:
        """What has to be done before it can take part; nothing when it can."""
        absent = [name for name in self.needs if not _installed(name)]
        if not absent:
            return ""
        if absent == ["go"]:
            return "not installed: Debian's golang-go, or go.dev"
        return "not installed: pip install -r benchmarks/requirements.txt"


def present(peers: tuple[Peer, ...]) -> list[Peer]:
    return [peer for peer in peers if not peer.missing]


def packages(peers: tuple[Peer, ...]) -> list[str]:
    """The distributions of those that are there, for the line about versions."""
    return sorted({name for peer in present(peers) for name in peer.needs} - {"go"}, key=str.lower)


def _installed(name: str) -> bool:
    if name == "go":
        return which("go") is not None
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


OURS = "Millstream on uvicorn"

_MILLSTREAM = Peer(OURS, uvicorn("apps:millstream"))
_SERVED = Peer("Millstream by millstream serve", millstream("apps:millstream"))
_STARLETTE = Peer("Starlette on uvicorn", uvicorn("peers.starlette:app"), ("starlette",))
_FASTAPI = Peer("FastAPI on uvicorn", uvicorn("peers.fastapi:app"), ("fastapi", "orjson"))
_FLASK = Peer("Flask on gunicorn gthread", gunicorn("peers.flask:app"), ("flask", "gunicorn", "orjson"), SYNC)
_DJANGO = Peer(
    "Django on gunicorn gthread", gunicorn("peers.django:app"), ("django", "gunicorn", "orjson"), SYNC
)
_TURBOGEARS = Peer(
    "TurboGears2 on waitress", waitress("peers.turbogears:app"), ("TurboGears2", "waitress", "orjson"), SYNC
)
_GO = Peer("Go net/http", go("peers/go"), ("go",))
_BARE = Peer("bare ASGI on uvicorn", uvicorn("peers.bare:app"))
_BARE_ASLEEP = replace(_BARE, kinds=ASYNC)
_EXPORTS = Peer(OURS, uvicorn("exports_app:app"))

ITEMS = (_MILLSTREAM, _STARLETTE, _FASTAPI, _FLASK, _TURBOGEARS, _BARE, _GO)
EXPORTS = (_EXPORTS, _FASTAPI, _FLASK, _DJANGO, _TURBOGEARS)
SCALE = (_SERVED, _MILLSTREAM, _STARLETTE, _FASTAPI, _FLASK, _TURBOGEARS, _BARE_ASLEEP, _GO)
