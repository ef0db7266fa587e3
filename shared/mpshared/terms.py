"""The terms of a job: what a program may ask for beyond having it run. One table for both sides.

| argument    | on the wire   | default | meaning                                                      |
|-------------|---------------|---------|--------------------------------------------------------------|
| retries     | retries       | 0       | so many more runs if it raises                               |
| backoff     | backoff_s     | 1 s     | wait before the first of these; doubled before each next one |
| max_backoff | max_backoff_s | 300 s   | but never longer than this                                   |
| delay       | delay_s       | 0       | not begun earlier                                            |
| expires     | expires_s     | None    | not begun later                                              |
| priority    | priority      | 0       | those with a higher one go first, within their pool          |
| timeout     | timeout_s     | None    | `TimeoutError` is raised in it when it has run for so long   |
| grace       | grace_s       | 5 s     | and so much later its process is killed                      |

RULES
* Durations count from the moment when the server takes the job.
* On the wire only what differs from the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from mpshared.errors import BadType, BadValue

__all__ = ["Terms"]

_MOST_S: Final = 366 * 86400.0
_MOST_COUNT: Final = 10**6


class Terms(NamedTuple):
    """See the file's beginning."""

    retries: int = 0
    backoff_s: float = 1.0
    max_backoff_s: float = 300.0
    delay_s: float = 0.0
    expires_s: float | None = None
    priority: int = 0
    timeout_s: float | None = None
    grace_s: float = 5.0

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Terms:
        """Return the terms that came over the wire, or from a record.

        Raises:
            BadType, BadValue: They cannot be such terms; the text says what is wrong.
        """
        for name, value in given.items():
            _check(name, value)
        return cls(**given)

    @classmethod
    def asked(cls, **arguments: Any) -> Terms:
        """Return the terms that a program asks for, by the arguments' names.

        Raises:
            BadType, BadValue: As `of`; both are what programs expect, a TypeError and a ValueError.
        """
        unknown = arguments.keys() - _WIRE.keys()
        if unknown:
            raise BadType(f"a job has no term {min(unknown)!r}; there are {', '.join(_WIRE)}")
        return cls.of({_WIRE[name]: value for name, value in arguments.items()})

    def given(self) -> dict[str, Any]:
        """Return what differs from the default, for the wire and for records."""
        return {name: value for name, value in self._asdict().items() if value != self._field_defaults[name]}

    def pause_s(self, failures: int) -> float:
        """Return how long to wait after so many failed runs, at least one."""
        return min(self.max_backoff_s, self.backoff_s * 2.0 ** min(failures - 1, 64))


_WIRE: Final = {name.removesuffix("_s"): name for name in Terms._fields}
_COUNTS: Final = frozenset({"retries", "priority"})
_OPTIONAL: Final = frozenset({"expires_s", "timeout_s"})
"""None: none."""
_SIGNED: Final = frozenset({"priority"})


def _check(name: str, value: Any) -> None:
    label = str(name).removesuffix("_s")
    if name not in Terms._fields:
        raise BadType(f"a job has no term {label!r:.80}; there are {', '.join(_WIRE)}")
    if value is None and name in _OPTIONAL:
        return
    if name in _COUNTS and type(value) is not int:
        raise BadType(f"{label} is a whole number, not {value!r:.80}")
    if type(value) not in {int, float}:
        raise BadType(f"{label} is a number of seconds, not {value!r:.80}")
    most = _MOST_COUNT if name in _COUNTS else _MOST_S
    least = -most if name in _SIGNED else 0
    if not least <= value <= most:  # NaN neither
        raise BadValue(f"{label} is between {least:g} and {most:g}, not {value!r:.80}")
