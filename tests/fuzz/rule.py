"""The rule that every target keeps, and how one input is held against it.

RULES
* An exception that the target's row does not document is a finding; so is a failed assertion in the target.
* An input takes at most `CPU_S` seconds, and makes the process grow by at most `GROWTH_BYTES`.
* Time is the processor's: a machine that is busy with something else makes no finding.
* What breaks the rule is no `Exception`: nothing on the way catches it.
"""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Final, TypeAlias

__all__ = [
    "CPU_S",
    "GROWTH_BYTES",
    "WATCH",
    "Mutator",
    "Target",
    "TooLarge",
    "TooSlow",
    "bound_memory",
    "hold",
    "use",
]

CPU_S: Final = 1.0
GROWTH_BYTES: Final = 64 << 20
INPUT_MAX_BYTES: Final = 4 << 10

_SLACK: Final = 4
_STATM: Final = Path("/proc/self/statm")
_MAXRSS_BYTES: Final = 1 if sys.platform == "darwin" else 1024
"""The unit in which the system tells how large this process has been."""

Plain: TypeAlias = Callable[[bytes], bytes]
"""A change that knows nothing of what the bytes mean."""
Mutator: TypeAlias = Callable[[bytes, Random, Plain], bytes]
"""A change that does: of the bytes, by chance, with a plain one for the parts."""


class TooSlow(BaseException):
    """One input took more time than any may."""


class TooLarge(BaseException):
    """One input took more memory than any may."""


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the table."""

    name: str
    about: str
    """What reads the bytes, and what is asserted of it."""
    use: Callable[[bytes], object]
    documented: tuple[type[Exception], ...]
    mutate: Mutator
    seeds: Callable[[], Iterable[bytes]]
    input_max_bytes: int = INPUT_MAX_BYTES
    share: int = 1
    """Its part of a run's inputs: much for what is fast and what strangers reach first."""


class _Watch:
    """Looks now and then whether it is still the same input: a timer for each would cost as much as most."""

    def __init__(self) -> None:
        self.inputs = 0
        self._seen = -1
        self._ticks = 0
        self._started = False

    def begin(self) -> None:
        """Note that an input begins."""
        self.inputs += 1
        if not self._started:
            self._started = True
            signal.signal(signal.SIGPROF, self._tick)
            signal.setitimer(signal.ITIMER_PROF, CPU_S / 2, CPU_S / 2)

    def end(self) -> None:
        """Note that it came back."""
        self.inputs += 1

    def stop(self) -> None:
        """Look no more, in a process that goes on with something else."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._started = False

    def _tick(self, _number: int, _frame: FrameType | None) -> None:
        self._ticks = self._ticks + 1 if self._seen == self.inputs else 0
        self._seen = self.inputs
        if self.inputs % 2 and self._ticks >= 2:
            self._ticks = 0
            raise TooSlow(f"one input took {CPU_S} s of the processor")


WATCH: Final = _Watch()


def use(target: Target, data: bytes) -> None:
    """Use one input, in a process whose memory is bounded. Whatever comes out is a finding.

    Raises:
        TooSlow: It took too long.
        Exception: One that is not documented.
    """
    WATCH.begin()
    try:
        target.use(data)
    except target.documented:
        pass
    finally:
        WATCH.end()


def bound_memory() -> None:
    """Have this process get no more memory than it has and `GROWTH_BYTES`, several times for its own growth.

    To ask the system after each input how large the process is would take longer than most inputs.
    """
    if not _STATM.exists():  # no Linux: libFuzzer's own limit stands behind
        return
    pages = int(_STATM.read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + _SLACK * GROWTH_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def hold(target: Target, data: bytes) -> None:
    """Use one input, in a process that does other things, too; see `use`.

    Raises:
        TooLarge: It took too much memory.
    """
    before = _largest()
    use(target, data)
    grown_bytes = (_largest() - before) * _MAXRSS_BYTES
    if grown_bytes > GROWTH_BYTES:
        raise TooLarge(f"{len(data)} bytes made {target.name} grow by {grown_bytes >> 20} MiB")


def _largest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
