"""Templates: Jinja2, from one folder, with the names TurboGears' templates know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        self._environment = Environment(
            loader=FileSystemLoader(folder or ()),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            auto_reload=reload,
        )
        self._environment.globals.update(
            request=proxies.request,
            response=proxies.response,
            tmpl_context=proxies.tmpl_context,
            url=url,
        )

    def get(self, name: str) -> Template:
        """A template by its file's name, compiled.

        Raises:
            ConfigurationError: when it is not there or is no valid template.
        """
        if self._folder is None:
            raise ConfigurationError(
                f"{name!r} is neither a codec nor a template: set `templates` to the templates' folder"
            )
        try:
            return self._environment.get_template(name)
        except (TemplateError, OSError, UnicodeError) as broken:
            raise ConfigurationError(
                f"the template {name!r} in {self._folder} cannot be used: {broken!s}"
            ) from broken

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """A whole page."""
        return self.get(name).render(values)
