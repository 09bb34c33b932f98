"""The commands and their options; what they do stands in the other modules of this room."""

from __future__ import annotations

import asyncio
import os
import traceback as tracebacks
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from millstream.cli import deployment, listing, serving, tailing
from millstream.cli import target as targets
from millstream.cli.values import Given
from millstream.demo import start
from millstream.dispatch.routes import routes as routes_of
from millstream.durable.engines import open_log
from millstream.durable.runs.purging import purge as purge_run
from millstream.errors import ConfigurationError

cli: Final = typer.Typer(
    name="millstream",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="An ini file, [bold]package.module:app[/] or [bold]package.module:factory()[/].",
        show_default=False,
    ),
]
# Numbers are options of text: what they mean, and what is said of a wrong one, is decided where
# ini files and the environment are understood, too.
Host = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Where to listen. [dim](127.0.0.1)[/]")]
Port = Annotated[
    str | None, typer.Option(metavar="PORT", help="The port; 0 takes a free one. [dim](8080)[/]")
]
Workers = Annotated[str | None, typer.Option(metavar="N", help="How many processes serve. [dim](1)[/]")]
LogLevel = Annotated[
    str | None, typer.Option(metavar="LEVEL", help=f"{', '.join(deployment.LOG_LEVELS)}. [dim](info)[/]")
]
Reload = Annotated[
    bool, typer.Option("--reload", help="Serve in one process, anew whenever a file here changes.")
]
Traceback = Annotated[
    bool, typer.Option("--traceback", help="Print the traceback of what the application's own code raised.")
]
Data = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The SQLite file to use or make. [dim](in the user's cache)[/]"),
]


@cli.callback(invoke_without_command=True)
def _everywhere(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Millstream, a web framework whose unit of work is the stream.

    [bold]millstream serve development.ini[/]         what an ini file describes
    [bold]millstream serve shop.app:app --reload[/]   an application in a module, while it is written
    [bold]millstream routes shop.app:app[/]           what it answers to
    [bold]millstream tail http://127.0.0.1:8080/[/]   a stream, followed in the terminal
    [bold]millstream demo[/]                          336,776 flights, streamed
    """
    if version:
        typer.echo(f"millstream {_version()}")
        raise typer.Exit


@cli.command()
def serve(
    target: Target,
    *,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    log_level: LogLevel = None,
    reload: Reload = False,
    traceback: Traceback = False,
) -> None:
    """Serve an application with uvicorn.

    [bold]millstream serve development.ini[/]
    [bold]millstream serve shop.app:app --port 9000 --workers 4[/]
    [bold]millstream serve "shop.app:make_app()" --reload[/]

    Options win over MILLSTREAM_HOST, MILLSTREAM_DEBUG and so on in the environment, and those over the file.
    """
    with _one_sentence(traceback=traceback):
        options = _options(host=host, port=port, workers=workers, log_level=log_level)
        if reload and workers is not None:
            raise ConfigurationError("--reload serves in one process: leave --workers away")
        decided = deployment.collect(target, options, os.environ)
        application = targets.load(decided)
        taken = serving.listen(decided.server)
        typer.echo(f"{target} is served at {serving.address(taken)} (Ctrl+C ends it)", err=True)
        settings = serving.settings_of(application)
        if reload:
            serving.run_reloading(decided, settings, taken, target)
        elif decided.server.workers > 1:
            serving.run_workers(decided, settings, taken, target)
        else:
            serving.run(application, decided.server, taken)


@cli.command()
def routes(target: Target, *, traceback: Traceback = False) -> None:
    """List the paths an application answers to.

    [bold]millstream routes development.ini[/]
    [bold]millstream routes shop.app:app | grep csv[/]

    Where the output is no terminal, each route is one line, its columns separated by tabs.
    """
    with _one_sentence(traceback=traceback):
        application = targets.load(deployment.collect(target, {}, os.environ))
        tree = getattr(application, "tree", None)
        if tree is None:
            raise ConfigurationError(f"{target} is no Millstream application: its routes cannot be known")
        listing.show(routes_of(tree), Console())


@cli.command()
def demo(*, host: Host = None, port: Port = None, log_level: LogLevel = None, data: Data = None) -> None:
    """Make a database of 336,776 real flights and stream them.

    [bold]millstream demo[/]
    [bold]millstream demo --port 9000 --data /tmp/flights.sqlite[/]
    """
    with _one_sentence(traceback=False):
        options = _options(host=host, port=port, log_level=log_level)
        server = deployment.server_options(options, os.environ)
        taken = serving.listen(server)
        application = start.application(data, Console(stderr=True))
        typer.echo(f"The demo is at {serving.address(taken)} (Ctrl+C ends it)", err=True)
        serving.run(application, server, taken)


@cli.command()
def tail(
    url: Annotated[str, typer.Argument(metavar="URL", help="The stream's address.", show_default=False)],
    *,
    offset: Annotated[
        str,
        typer.Option(
            "--from", metavar="OFFSET", help="Of a durable stream: [bold]start[/], [bold]now[/] or an offset."
        ),
    ] = "start",
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="NAME:VALUE", help="Sent with each request; may be repeated."),
    ] = None,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long a stream that stays away is asked for again.")
    ] = 300.0,
) -> None:
    """Follow a stream: print what comes, take it up again where the connection was lost.

    [bold]millstream tail http://127.0.0.1:8080/ticks[/]
    [bold]millstream tail http://127.0.0.1:8080/streams/run-7 --from now[/]
    [bold]millstream tail https://api.example/feed -H "Authorization: Bearer …" | jq .price[/]

    The status is 0 when the stream ended well, and 1 when it failed, was cut off or stayed away.
    """
    with _one_sentence(traceback=False):
        tailing.run(url, offset=offset, headers=header or (), patience=patience)


@cli.command()
def purge(
    target: Target,
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN…", help="The ids of durable runs, their Stream-Id.", show_default=False),
    ],
    *,
    traceback: Traceback = False,
) -> None:
    """Forget durable runs: their keys are free, and the next request begins new ones.

    [bold]millstream purge development.ini k3J…[/]
    [bold]millstream purge shop.app:app k3J… x0Q…[/]

    The status is 1 when there was no run of one of the ids.
    """
    with _one_sentence(traceback=traceback):
        application = targets.load(deployment.collect(target, {}, os.environ))
        url = serving.settings_of(application).durable_url
        if url is None:
            raise ConfigurationError(f"{target} has no durable runs: its setting durable_url is not set")
        if missing := asyncio.run(_not_purged(url, runs)):
            raise ConfigurationError(f"there is no run {', '.join(missing)}")


async def _not_purged(url: str, runs: list[str]) -> list[str]:
    async with open_log(url) as log:
        return [run for run in runs if not await purge_run(log, run)]


def _options(**given: str | None) -> dict[str, Given]:
    return {
        name: Given(text.strip(), f"the option --{name.replace('_', '-')}")
        for name, text in given.items()
        if text is not None
    }


def _version() -> str:
    try:
        return metadata.version("millstream")
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        return "(not installed)"


@contextmanager
def _one_sentence(*, traceback: bool) -> Iterator[None]:
    """Whoever deploys is told in one sentence what is wrong; the status is 1."""
    try:
        yield
    except ConfigurationError as error:
        if traceback and error.__cause__:
            tracebacks.print_exception(error.__cause__)
        typer.echo(f"millstream: {error}", err=True)
        raise typer.Exit(1) from None
