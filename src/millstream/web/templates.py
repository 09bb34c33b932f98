"""Templates: Jinja2, from one folder, with the names TurboGears' templates know."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, TemplateError, select_autoescape

from millstream.errors import ConfigurationError
from millstream.web import proxies
from millstream.web.navigation import url


class Templates:
    """The templates of one application.

    Args:
        folder: where they lie; None when the application has none.
        reload: whether a changed file is read again (debug).

    Raises:
        ConfigurationError: when the folder is not there.
    """

    def __init__(self, folder: str | None, *, reload: bool) -> None:
        self._folder = folder
        if folder is not None and not Path(folder).is_dir():
            raise ConfigurationError(f"the setting templates is {folder!r}, which is no folder")
        self._environment = _environment(folder, reload=reload, enable_async=False)
        self._reload = reload

    def get(self, name: str) -> Template:
        """A template by its file's name, compiled.

        Raises:
            ConfigurationError: when it is not there or is no valid template.
        """
        return self._compiled(self._environment, name)

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """A whole page."""
        return self.get(name).render(values)

    def pieces(self, name: str, values: Mapping[str, Any]) -> Generator[str, None, None]:
        """A page piece by piece, each as soon as the template has written it."""
        return cast("Generator[str, None, None]", self.get(name).generate(values))

    def apieces(self, name: str, values: Mapping[str, Any]) -> AsyncGenerator[str, None]:
        """The same in a task, for a template that iterates asynchronously."""
        pieces = self._compiled(self._async_environment, name).generate_async(values)
        return cast("AsyncGenerator[str, None]", pieces)

    @cached_property
    def _async_environment(self) -> Environment:
        """The same templates, compiled to coroutines; most applications never need it."""
        return _environment(self._folder, reload=self._reload, enable_async=True)

    def _compiled(self, environment: Environment, name: str) -> Template:
        if self._folder is None:
            raise ConfigurationError(
                f"{name!r} is neither a codec nor a template: set `templates` to the templates' folder"
            )
        try:
            return environment.get_template(name)
        except (TemplateError, OSError, UnicodeError) as broken:
            raise ConfigurationError(
                f"the template {name!r} in {self._folder} cannot be used: {broken!s}"
            ) from broken


def _environment(folder: str | None, *, reload: bool, enable_async: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(folder or ()),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        auto_reload=reload,
        enable_async=enable_async,
    )
    environment.globals.update(
        request=proxies.request,
        response=proxies.response,
        tmpl_context=proxies.tmpl_context,
        url=url,
    )
    return environment
