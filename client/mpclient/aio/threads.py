"""What waits, beside the event loop: dialling, starting servers, printing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(function: Callable[[], T], drop: Callable[[T], object] | None = None) -> T:
    """Run what waits in a thread of its own, which a busy pool of the program's cannot hold up.

    Args:
        function: What to run.
        drop: Is given the result, should nobody wait for it any more.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if outcome.done():
            if error is None and drop is not None:
                drop(result)  # type: ignore[arg-type]
        elif error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as err:  # noqa: BLE001 - whoever waits raises it
            error = err
        try:
            loop.call_soon_threadsafe(tell, result, error)
        except RuntimeError:  # the loop is closed
            if error is None and drop is not None:
                drop(result)  # type: ignore[arg-type]

    threading.Thread(target=run, name="mpserve-dial", daemon=True).start()
    return await outcome
