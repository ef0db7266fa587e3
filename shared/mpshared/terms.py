"""The terms of a job: what a program may ask for beyond having it run. One table for both sides.

| argument    | on the wire   | default | meaning                                                         |
|-------------|---------------|---------|-----------------------------------------------------------------|
| retries     | retries       | 0       | so many more runs if it raises                                  |
| backoff     | backoff_s     | 1 s     | wait before the first of these; doubled before each next one    |
| max_backoff | max_backoff_s | 300 s   | but never longer than this                                      |
| delay       | delay_s       | 0       | not begun earlier                                               |
| expires     | expires_s     | None    | not begun later                                                 |
| priority    | priority      | 0       | those with a higher one go first, within their pool             |
| timeout     | timeout_s     | None    | `TimeoutError` is raised in it when it has run for so long      |
| grace       | grace_s       | 5 s     | and so much later its process is killed                         |
| key         | key           | none    | of a standing pool: there is one job of this name at a time     |
| ttl         | ttl_s         | 3600 s  | of a standing pool: how long its result is kept; None: for ever |

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
_MOST_KEY: Final = 1000


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
    key: str = ""
    ttl_s: float | None = 3600.0

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
    def asked_of_a_pool(cls, **arguments: Any) -> Terms:
        """As `asked`, for jobs that end with their program.

        Raises:
            BadType: Also for a term that is only for jobs which outlive it.
        """
        for name in ("key", "ttl"):
            if name in arguments:
                raise BadType(
                    f"{name} is for jobs that outlive their program: cluster.options({name}=…).submit()"
                )
        return cls.asked(**arguments)

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
_OPTIONAL: Final = frozenset({"expires_s", "timeout_s", "ttl_s"})
"""None: none."""
_SIGNED: Final = frozenset({"priority"})


def _check(name: str, value: Any) -> None:
    label = str(name).removesuffix("_s")
    if name not in Terms._fields:
        raise BadType(f"a job has no term {label!r:.80}; there are {', '.join(_WIRE)}")
    if value is None and name in _OPTIONAL:
        return
    if name == "key":
        if type(value) is not str or len(value) > _MOST_KEY:
            raise BadType(f"a key is a string of at most {_MOST_KEY} characters, not {value!r:.80}")
        return
    if name in _COUNTS and type(value) is not int:
        raise BadType(f"{label} is a whole number, not {value!r:.80}")
    if type(value) not in {int, float}:
        raise BadType(f"{label} is a number of seconds, not {value!r:.80}")
    most = _MOST_COUNT if name in _COUNTS else _MOST_S
    least = -most if name in _SIGNED else 0
    if not least <= value <= most:  # NaN neither
        raise BadValue(f"{label} is between {least:g} and {most:g}, not {value!r:.80}")
