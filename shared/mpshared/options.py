"""Command line options out of the table of settings, for typer.

    def start(port: Annotated[int, option(settings.PORT)] = settings.PORT.default) -> None: ...

Imported by the two commands only: it loads typer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from mpshared.settings import Setting, SettingError

__all__ = ["option"]


def option(setting: Setting[Any]) -> Any:
    """Make typer's description of a setting's option: its name, variable, default, help, and how to read it.

    A list comes as `list[str]` (annotate so; default `None`), a flag as `bool`, everything else as the
    setting's own type. The variable and the default are part of the help's text, as one would type them:
    typer's own words differ between its versions.
    """
    common: dict[str, Any] = {
        "envvar": setting.env or None,
        "show_envvar": False,
        "show_default": False,
        "help": _help(setting),
    }
    if setting.is_flag:
        return typer.Option(setting.option, **common)
    if setting.is_list:
        return typer.Option(setting.option, metavar=setting.metavar, **common)
    return typer.Option(setting.option, metavar=setting.metavar, parser=_parser(setting), **common)


def _help(setting: Setting[Any]) -> str:
    choices = f"One of: {', '.join(setting.choices)}." if setting.choices else ""
    notes = [setting.env, f"default: {setting.shown}" if setting.shown else ""]
    return " ".join(filter(None, [setting.help, choices, f"[{'; '.join(filter(None, notes))}]"]))


def _parser(setting: Setting[Any]) -> Callable[[Any], Any]:
    """Give a function that reads what was typed; typer also passes it the default, which is read already."""

    def read(typed: object) -> object:
        if not isinstance(typed, str):
            return typed
        try:
            return setting.parse(typed)
        except SettingError as error:
            raise typer.BadParameter(str(error)) from None

    read.__name__ = setting.metavar
    return read
