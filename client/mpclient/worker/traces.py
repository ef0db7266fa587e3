"""What a process that works for programs leaves to who started it: its mark, and what it wrote.

RULES
* Both are read here when the process does not do it itself, and when it is dead.
* A process is given the other ends of them, once; what it is given is closed here then.
"""

from __future__ import annotations

import os

from mpclient.worker.descriptors import Pieces, Pipes
from mpclient.worker.mark import Mark, new_mark

__all__ = ["Traces"]


class Traces:
    """Those of one process.

    Raises:
        OSError: Too many files are open.
    """

    def __init__(self) -> None:
        self._memory = new_mark()
        try:
            self.mark = Mark(os.dup(self._memory))
            self.pipes = Pipes()
        except OSError:
            os.close(self._memory)
            raise

    @property
    def ends(self) -> tuple[int, ...]:
        """What the process is given: memory for a `Mark`, then `Pipes.ends`."""
        return self._memory, *self.pipes.ends

    def given(self) -> None:
        """Close what is the process's own now, or never will be."""
        os.close(self._memory)
        self.pipes.begun()

    def overdue(self) -> Pieces:
        """Return what was written past its streams and lies unread for long."""
        return self.pipes.overdue(self.mark)

    def rest(self) -> Pieces:
        """Return what a process that has ended did not send: what it noted, and what is in its pipes."""
        return [*self.mark.notes(), *self.pipes.rest()]

    def close(self) -> None:
        """Close everything."""
        self.pipes.close()
        self.mark.close()
