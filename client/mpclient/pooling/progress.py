"""Progress of a `map` or `imap`: a bar on a terminal, one line elsewhere, or a function of the user's.

RULES
* Told by the pool's threads, a batch at a time; a bar is drawn a few times a second whatever the rate.
* What goes wrong while telling is reported once, and the work goes on.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Sized
from typing import Any, Final, TypeAlias

from mpclient.pooling.threads import report

__all__ = ["Progress", "Wanted", "progress_of"]

Wanted: TypeAlias = bool | Callable[[int, int | None, int], Any]
"""True: a bar. A function: called with how many items are done, how many there are (None: not known), and how
many of the done ones failed."""
_Show: TypeAlias = Callable[[int, int | None, int, bool], Any]
"""The same, and whether it is for the last time."""
_REDRAW_S: Final = 0.1


class Progress:
    """Counts, and shows."""

    def __init__(self, show: _Show, total: int | None) -> None:
        self._show: _Show | None = show
        self._total = total
        self._done = self._failed = 0
        self._lock = threading.Lock()

    def note(self, n: int, failed: int = 0) -> None:
        """Note that `n` more items are done, `failed` of them without an answer."""
        with self._lock:
            self._done += n
            self._failed += failed
        self._tell(last=False)

    def close(self) -> None:
        """Show the end; nothing is shown after it."""
        self._tell(last=True)
        self._show = None

    def _tell(self, *, last: bool) -> None:
        show = self._show
        if show is None:
            return
        try:
            show(self._done, self._total, self._failed, last)
        except Exception as err:  # noqa: BLE001 - users' code, or a terminal that went away
            self._show = None
            report(err)


def progress_of(wanted: Wanted, iterable: Iterable[Any], name: str) -> Progress | None:
    """Return what is to be told, None where nobody wants to know.

    Args:
        wanted: As the user gave it.
        iterable: What is gone through.
        name: What stands beside the bar.

    Raises:
        TypeError: It is neither True, False nor a function.
    """
    if wanted is False or wanted is None:
        return None
    total = len(iterable) if isinstance(iterable, Sized) else None
    if callable(wanted):
        return Progress(_function(wanted), total)
    if wanted is not True:
        raise TypeError(f"progress must be True, False or a function, not {wanted!r:.80}")
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    return Progress(_Bar(name, total) if on_terminal else _Line(name), total)


def _function(wanted: Callable[[int, int | None, int], Any]) -> _Show:
    def show(done: int, total: int | None, failed: int, last: bool) -> None:
        if not last:
            wanted(done, total, failed)

    return show


class _Line:
    """One line on stderr when all is over."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began_s = time.monotonic()

    def __call__(self, done: int, total: int | None, failed: int, last: bool) -> None:
        if last and sys.stderr is not None:
            took_s = max(1e-6, time.monotonic() - self._began_s)
            of = "" if total is None else f" of {total}"
            sys.stderr.write(f"{self._name}: {done}{of} done, {failed} failed, {done / took_s:.1f}/s\n")


class _Bar:
    """A bar of rich's, with rate and failures."""

    def __init__(self, name: str, total: int | None) -> None:
        from rich.console import Console  # noqa: PLC0415 - heavy, and few ask for it
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars  # noqa: PLC0415

        self._bars = Bars(
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
            *(TextColumn("{task.fields[rate]:.1f}/s, {task.fields[failed]} failed"), TimeRemainingColumn()),
            console=Console(stderr=True),
            auto_refresh=False,  # no thread of its own that could outlive the work
        )
        self._task = self._bars.add_task(name, total=total, rate=0.0, failed=0)
        self._began_s = time.monotonic()
        self._drawn_s = 0.0
        self._lock = threading.Lock()
        self._bars.start()

    def __call__(self, done: int, total: int | None, failed: int, last: bool) -> None:
        with self._lock:
            now_s = time.monotonic()
            if not last and now_s - self._drawn_s < _REDRAW_S:
                return
            self._drawn_s = now_s
            rate = done / max(1e-6, now_s - self._began_s)
            total = done if last and total is None else total
            self._bars.update(self._task, completed=done, total=total, rate=rate, failed=failed, refresh=True)
            if last:
                self._bars.stop()
