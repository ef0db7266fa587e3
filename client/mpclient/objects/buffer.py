"""Buffered puts: items wait here for a moment and travel together, as in `multiprocessing.Queue`.

RULES
* An item is pickled when it is put: what the program changes afterwards does not matter.
* Before any other call of this process everything here is sent, so nobody sees a world in which a put is
  missing.
* Otherwise a feeder thread sends it, at once; what is put meanwhile goes with its next message.
* An error of the feeder (the queue was shut down, the server is gone) is raised by the next put or flush.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mpclient.output.remarks import remark
from mpclient.values.pickling import own_buffers
from mpshared.errors import MpserveError
from mpshared.ops import BY_NAME
from mpshared.values import size_bytes

if TYPE_CHECKING:
    from mpclient.transport.references import Handle
    from mpshared.values import Blob

__all__ = ["Buffer"]

_PUT_MANY: Final = BY_NAME["queue.put_many"]
_MOST_ITEMS: Final = 4096
_MOST_BYTES: Final = 4 << 20
"""With more than this waiting, a put takes part in sending: memory stays bounded."""
_QUIET_S: Final = 0.5


class Buffer:
    """The items of one buffered queue that the server has not seen."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self.awaited = True
        """Whether the end of the program waits until everything is sent."""
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._blobs: list[Blob] = []
        self._waiting_bytes = 0
        self._error: MpserveError | None = None
        self._changing = threading.RLock()
        self._sending = threading.RLock()
        self._something = threading.Event()
        self._feeder: threading.Thread | None = None

    def put(self, blob: Blob) -> None:
        """Add an item."""
        self._raise_error()
        with self._changing:
            self._blobs.append(own_buffers(blob))
            self._waiting_bytes += size_bytes(blob)
            crowded = len(self._blobs) >= _MOST_ITEMS or self._waiting_bytes >= _MOST_BYTES
            self._handle.session.unflushed.add(self)
        if crowded or (self._feeder is None and not self._start_feeder()):
            self.flush()
            return
        self._something.set()

    def flush(self) -> None:
        """Send everything; returns when the server has it.

        Raises:
            MpserveError: What the server said, now or to the feeder. The items are lost then.
        """
        self.send()
        self._raise_error()

    def send(self) -> None:
        """Send everything; an error is kept for the next put or flush, or told at once when none can come."""
        session = self._handle.session
        with self._sending:  # a flush waits for the feeder's message: only then has the server everything
            with self._changing:
                blobs, self._blobs = self._blobs, []
                self._waiting_bytes = 0
            try:
                if blobs:
                    session.call_lane(_PUT_MANY, self._handle.ident, [None], blobs)
            except MpserveError as err:
                self._fail(err, len(blobs))
            with self._changing:
                if not self._blobs:
                    session.unflushed.discard(self)

    def _fail(self, err: MpserveError, lost: int) -> None:
        self._error = err
        if self._handle.session.ending:
            remark(f"{lost} buffered items of this program are lost: {err}")

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _start_feeder(self) -> bool:
        """Have a thread send what comes; False: the system gives no more."""
        with self._changing, suppress(RuntimeError):
            if self._feeder is None:
                feeder = threading.Thread(target=self._feed, name="mpserve-feeder", daemon=True)
                feeder.start()
                self._feeder = feeder
            return True
        return False

    def _feed(self) -> None:
        """Send what comes; end after a quiet moment, so that no thread keeps an unused queue alive."""
        while True:
            if self._something.wait(_QUIET_S):
                self._something.clear()
                self.send()
                continue
            with self._changing:  # an item put from here on finds no feeder, and starts one
                if not self._blobs:
                    self._feeder = None
                    return

    def forget(self) -> None:
        """Forget what waits: nobody wants it, or (in a forked child) it is the parent's to send."""
        self._handle.session.unflushed.discard(self)
        self._begin_anew()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a buffer is not pickled; its queue is")
