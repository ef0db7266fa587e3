"""Durations, sizes and counts as people type them; numbers in one unit (seconds, bytes) inside.

RULES
* A number without a unit is in seconds or in bytes.
* K, M, G, T are powers of 1024, as in `dd`, `ulimit` and `docker run --memory`; KiB, MiB … say the same; KB,
  MB … mean it too, because nobody who limits memory wants 2.4 % less for a letter.
* Every refusal says what was given and shows what to type.
"""

from __future__ import annotations

import re

from mpshared.text import shorten

__all__ = [
    "SettingError",
    "format_size",
    "parse_count",
    "parse_duration",
    "parse_flag",
    "parse_size",
    "shown_size",
]

_DURATION_S = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_DURATION = re.compile(_NUMBER + r" ?(ms|s|min|m|h|d|)", re.ASCII)
_SIZE = re.compile(_NUMBER + r" ?(?:([KMGT])(?:i?B)?|B?)", re.ASCII | re.IGNORECASE)
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})


class SettingError(ValueError):
    """A setting that cannot be used; the text says what to type instead."""


def parse_duration(text: str) -> float:
    """Read "30s", "500ms", "2m", "1.5h", "1d" or a plain number of seconds.

    Returns:
        Seconds, 0 or more.

    Raises:
        SettingError: Anything else, negative numbers included.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise SettingError(
            f"{shorten(text)!r} is not a duration; write it like 30s, 500ms, 2m or 1.5h (a plain number "
            "means seconds)"
        )
    return float(match[1]) * _DURATION_S[match[2]]


def parse_size(text: str) -> int:
    """Read "256M", "1.5GiB", "64 kB" or a plain number of bytes.

    Returns:
        Bytes, 0 or more; a fraction of a byte is dropped.

    Raises:
        SettingError: Anything else, negative numbers included.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise SettingError(
            f"{shorten(text)!r} is not a size; write it like 256M, 1.5GiB or 65536 (a plain number means "
            "bytes)"
        )
    return int(float(match[1]) * _SIZE_BYTES[(match[2] or "").upper()])


def parse_count(text: str, *, least: int = 0, most: int | None = None) -> int:
    """Read a whole number between two bounds, both included.

    Raises:
        SettingError: Not a whole number, or out of bounds.
    """
    bounds = f"{least} or more" if most is None else f"from {least} to {most}"
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit()):
        raise SettingError(f"{shorten(text)!r} is not a whole number; write one {bounds}")
    huge = len(digits) > 18  # not even converted
    if huge or int(digits) < least or (most is not None and int(digits) > most):
        raise SettingError(f"{shorten(text)} is out of range; write a whole number {bounds}")
    return int(digits)


def parse_flag(text: str) -> bool:
    """Read 1/0, true/false, yes/no or on/off, in any case.

    Raises:
        SettingError: Anything else.
    """
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise SettingError(f"{shorten(text)!r} is neither yes nor no; write 1 or 0")
    return word in _TRUE


def shown_size(size_bytes: int) -> str:
    """Write bytes for people to read, rounded: 123456789 → "117.7M"."""
    for unit in ("T", "G", "M", "K"):
        if size_bytes >= _SIZE_BYTES[unit]:
            return f"{size_bytes / _SIZE_BYTES[unit]:.1f}{unit}"
    return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"


def format_size(size_bytes: int) -> str:
    """Write bytes so that `parse_size` reads the same number back: 268435456 → "256M"."""
    for unit in ("T", "G", "M", "K"):
        if size_bytes >= _SIZE_BYTES[unit] and size_bytes % _SIZE_BYTES[unit] == 0:
            return f"{size_bytes // _SIZE_BYTES[unit]}{unit}"
    return str(size_bytes)
