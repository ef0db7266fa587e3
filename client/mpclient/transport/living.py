"""Which objects of a sort there are, without keeping them alive.

Any thread may add one or ask for them, whatever others do. (Who goes through a `WeakSet` while another thread
adds something gets a RuntimeError, before Python 3.14.)
"""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

__all__ = ["Living"]

_T = TypeVar("_T")


class Living(Generic[_T]):
    """See the file's beginning."""

    def __init__(self) -> None:
        self._refs: set[weakref.ref[_T]] = set()

    def add(self, one: _T) -> None:
        """Note an object."""
        self._refs.add(weakref.ref(one, self._refs.discard))

    def all(self) -> list[_T]:
        """Return those that live."""
        return [one for ref in list(self._refs) if (one := ref()) is not None]
