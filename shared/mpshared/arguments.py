"""Reading a plain command line by the table of settings, so that a command starts without loading typer.

RULES
* What is not plain (a mistake, `--help`, an abbreviation, a bad variable) is left to typer, which can explain
  it: nothing is reported here.
* What is read here means what it means to typer: a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mpshared.settings import Setting, SettingError

__all__ = ["read_plain"]


def read_plain(words: Sequence[str], settings: Iterable[Setting[Any]]) -> dict[str, Any] | None:
    """Return each setting's value by its name: the option's, else the variable's, else the default.

    Args:
        words: The command line, behind the command.
        settings: Those that the command has.

    Returns:
        None where the words are not plain options of these settings with values that can be read.
    """
    table = {setting.option: setting for setting in settings}
    given: dict[str, Any] = {}
    left = iter(words)
    try:
        for word in left:
            option, equals, value = word.partition("=")
            setting = table.get(option)
            if setting is None:
                return None
            if not _take(given, setting, value if equals else None, left):
                return None
        return {setting.name: setting.read(given.get(setting.name)) for setting in table.values()}
    except SettingError:
        return None


def _take(given: dict[str, Any], setting: Setting[Any], value: str | None, left: Iterable[str]) -> bool:
    """Read one option's value, the next word where none was given with `=`; tell whether there is one."""
    if setting.is_flag:
        given[setting.name] = True
        return value is None
    word = next(iter(left), "-") if value is None else value
    if value is None and word.startswith("-"):
        return False
    if setting.is_list:
        given[setting.name] = (*given.get(setting.name, ()), word)
    else:
        given[setting.name] = setting.parse(word)
    return True
