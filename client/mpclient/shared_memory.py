"""`multiprocessing.shared_memory`, which is refused: memory cannot be shared between machines."""

from __future__ import annotations

from typing import Any, NoReturn

from mpshared.errors import NotSupported

__all__ = ["ShareableList", "SharedMemory"]

_WHY = "a block of memory belongs to one machine, and the processes of a cluster run on several"


class SharedMemory:
    """Refused; see `mpclient.Array` for numbers, `Manager().list()` and queues for anything."""

    def __init__(self, name: str | None = None, create: bool = False, size: int = 0, **more: Any) -> None:
        _ = name, create, size, more
        refuse(
            "SharedMemory", "mpclient.Array for numbers, or send the bytes (arrays of NumPy travel uncopied)"
        )


class ShareableList:
    """Refused; see `Manager().list()`."""

    def __init__(self, sequence: object = None, *, name: str | None = None) -> None:
        _ = sequence, name
        refuse("ShareableList", "Manager().list()")


def refuse(what: str, instead: str) -> NoReturn:
    """Raise the one error of this module."""
    raise NotSupported(
        f"{what} is not offered: {_WHY}. Use {instead}; within one process, multiprocessing.shared_memory"
    )
