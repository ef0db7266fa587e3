"""Fetch the next batch while this one runs: where the server is far, a round trip costs more than jobs.

RULES
* Only what is there at once is fetched: nothing waits for jobs here, so no result waits for them.
* What is finished by then goes along. What is finished later goes with the next exchange, whoever makes it.
* The thread is made when it is first asked: on the server's own machine there is none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mpshared.errors import MpserveError

if TYPE_CHECKING:
    from mpclient.worker.desk import Desk
    from mpclient.worker.exchange import Exchange
    from mpclient.worker.tender import Tender
    from mpshared.wire.own.frames import Reply

__all__ = ["Ahead"]


class Ahead:
    """See the file's beginning.

    Args:
        desk: Where the batch is put down.
        exchange: Where it comes from.
        tender: Knows whether this process stops, and who talks to the server.
        receive: Reads the answer.
    """

    def __init__(
        self, desk: Desk, exchange: Exchange, tender: Tender, receive: Callable[[Reply], Any]
    ) -> None:
        self._desk = desk
        self._exchange = exchange
        self._tender = tender
        self._receive = receive
        self._size = 0
        self._bell = threading.Semaphore(0)
        self._thread: threading.Thread | None = None

    def ask(self, size: int) -> None:
        """Have up to `size` jobs fetched. Costs no waiting."""
        self._size = size
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mpserve-ahead", daemon=True)
            self._thread.start()
        self._bell.release()

    def _run(self) -> None:
        while self._bell.acquire():
            with self._tender.talking, suppress(MpserveError):  # the main thread hears the same, and decides
                if not self._tender.stopping and not self._desk.has_ahead:
                    self._exchange.round(self._desk.collect(), self._size, 0, self._receive)
