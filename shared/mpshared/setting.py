"""What a setting is, and how its text is read; the tables are `settings` and `limits`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from mpshared.names import why_no_name
from mpshared.units import SettingError, parse_duration, parse_size

__all__ = [
    "Setting",
    "User",
    "parse_name",
    "parse_text",
    "parse_texts",
    "positive_duration",
    "positive_size",
    "setting",
    "short_duration",
]

T = TypeVar("T")
User = Literal["server", "worker", "client"]


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One setting: its names, what it may hold, what it is when nobody says anything, who reads it."""

    name: str
    users: tuple[User, ...]
    metavar: str
    parse: Callable[[str], T]
    default: T
    shown: str
    """The default as one would type it; empty where there is none."""
    help: str
    env: str
    choices: tuple[str, ...] = ()
    option: str = ""
    """The option's name where a command has one; empty for a setting that only programs have."""

    @property
    def is_flag(self) -> bool:
        """Tell whether the option stands alone, without a value."""
        return isinstance(self.default, bool)

    @property
    def is_list(self) -> bool:
        """Tell whether the option may be given several times (in the environment: separated by spaces)."""
        return isinstance(self.default, tuple)

    def read(self, given: T | None = None) -> T:
        """Find the value: what was given, else the environment's, else the default.

        Raises:
            SettingError: The environment variable holds something else; the text names the variable.
        """
        if given is not None:
            return given
        text = os.environ.get(self.env, "")
        if not text.strip():
            return self.default
        try:
            return self.parse(text)
        except SettingError as error:
            raise SettingError(f"{self.env}: {error}") from None


def setting(
    *,
    name: str,
    users: tuple[User, ...],
    default: T,
    help: str,  # noqa: A002 - the column's name
    metavar: str = "",
    parse: Callable[[str], T] | None = None,
    choices: tuple[str, ...] = (),
    shown: str | None = None,
    option: str | None = None,
    env: str | None = None,
) -> Setting[T]:
    """Make a row of a table: a setting ``max_memory`` has the option --max-memory and the variable
    MPSERVE_MAX_MEMORY, unless the row says otherwise; one with `choices` takes one of these words.
    """
    read: Any = parse or partial(_choice, choices=choices)
    return Setting(
        name=name,
        users=users,
        metavar=metavar,
        parse=read,
        default=default,
        shown=_typed(default) if shown is None else shown,
        help=help,
        env=f"MPSERVE_{name.upper()}" if env is None else env,
        choices=choices,
        option=f"--{name.replace('_', '-')}" if option is None else option,
    )


def _typed(default: object) -> str:
    """Return a default as one would type it; "": there is none."""
    return "" if default is None or default is False or default == () else str(default)


def parse_text(text: str) -> str:
    """Take text as it is."""
    return text


def parse_name(text: str) -> str:
    """Take what an object may be called.

    Raises:
        SettingError: No object can have that name.
    """
    if problem := why_no_name(text):
        raise SettingError(problem)
    return text


def parse_texts(text: str) -> tuple[str, ...]:
    """Read words that spaces part."""
    return tuple(text.split())


def _choice(text: str, choices: tuple[str, ...]) -> str:
    word = text.strip().lower()
    if word not in choices:
        raise SettingError(f"{text!r} is not known here; write one of {', '.join(choices)}")
    return word


def positive_size(text: str, least: int, example: str) -> int:
    """Read a size of at least so many bytes; `example` is what a refusal shows.

    Raises:
        SettingError: It is none, or less.
    """
    size_bytes = parse_size(text)
    if size_bytes < least:
        raise SettingError(f"{text!r} is too little; write {example} or more")
    return size_bytes


def positive_duration(text: str, least_s: float, example: str) -> float:
    """Read a duration of at least so many seconds; `example` is what a refusal shows.

    Raises:
        SettingError: It is none, or less.
    """
    duration_s = parse_duration(text)
    if duration_s < least_s:
        raise SettingError(f"{text!r} is too short; write {example} or more")
    return duration_s


def short_duration(text: str, most_s: float, advice: str) -> float:
    """Read a duration of at most so many seconds; `advice` is what a refusal says to write.

    Raises:
        SettingError: It is none, or more.
    """
    duration_s = parse_duration(text)
    if duration_s > most_s:
        raise SettingError(f"{text!r} is too long; {advice}")
    return duration_s
