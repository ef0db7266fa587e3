"""The log of what peers did wrong: told at once, but not a thousand times.

RULES
* For each event and address: the first lines of a minute are written as they come; what follows is counted,
  and told in one line at the minute's end.
* Addresses that are counted are bounded; the oldest minute ends early then.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mpshared.log import Logger

__all__ = ["MINUTE_S", "Tally"]

MINUTE_S: Final = 60.0
_MINUTES_MAX: Final = 1024


class _Minute:
    """What happened since its first line."""

    __slots__ = ("fields", "more", "told", "until_s")

    def __init__(self, until_s: float) -> None:
        self.until_s = until_s
        self.told = 0
        self.more = 0
        self.fields: dict[str, object] = {}
        """Of the last one that was not told."""


class Tally:
    """See the file's beginning."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._minutes: OrderedDict[tuple[str, str], _Minute] = OrderedDict()

    def tell(self, event: str, origin: str, now_s: float, most: int = 1, **fields: object) -> None:
        """Write a line, unless this minute has had `most` of that event and address."""
        minute = self._minutes.get((event, origin))
        if minute is None:
            if len(self._minutes) >= _MINUTES_MAX:
                self._end_first()
            minute = self._minutes[event, origin] = _Minute(now_s + MINUTE_S)
        if minute.told < most:
            minute.told += 1
            self._log.warning(event, **fields)
        else:
            minute.more += 1
            minute.fields = fields

    def _end_first(self) -> None:
        (event, origin), minute = self._minutes.popitem(last=False)
        if minute.more:
            fields = {"address": origin, "more": minute.more, **minute.fields}
            self._log.warning(event, within_s=MINUTE_S, **fields)

    def next_deadline_s(self) -> float | None:
        """Return when the first minute is over."""
        return next(iter(self._minutes.values())).until_s if self._minutes else None

    def advance(self, now_s: float) -> None:
        """Tell of minutes that are over."""
        while self._minutes and next(iter(self._minutes.values())).until_s <= now_s:
            self._end_first()

    def close(self) -> None:
        """Tell what was not told yet."""
        while self._minutes:
            self._end_first()
