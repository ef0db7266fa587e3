"""What an initializer left behind in its globals, for the functions of its pool that come later.

In the standard library a pool's initializer and its functions live in one `__main__`: what the one assigns
as `global`, the others find. Here each came as a pickle of its own, by value, and has globals of its own. So
what was in the initializer's when it was through is laid over those of each function by value that is opened
for the pool afterwards.

RULES
* Only for pools with an initializer. Without, functions keep to themselves: two versions of one function,
  sent one after the other, must not see each other's globals.
* Names go by module: what was left behind in `__main__` is for functions of `__main__`.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any, Final

__all__ = ["Space", "Watching"]

Space = Mapping[str, dict[str, Any]]
"""Module name -> names and what they stand for."""

_MAKES_FUNCTIONS: Final = "_make_function"
"""What cloudpickle's pickles call to make a function, before its globals are filled."""
_OF_THE_MODULE: Final = frozenset(
    {"__name__", "__package__", "__path__", "__file__", "__builtins__", "__spec__", "__loader__", "__doc__"}
)


class Watching:
    """Opens pickles, and knows the globals of the functions that were made meanwhile.

    Args:
        space: What to lay over these.
    """

    def __init__(self, space: Space | None = None) -> None:
        self._space = space or {}
        self.found: dict[int, dict[str, Any]] = {}
        """The globals, by their id."""

    def load(self, data: bytes, buffers: Iterable[Any] = ()) -> Any:
        """Open a pickle, as `pickle.loads` does."""
        value = _Unpickler(io.BytesIO(data), buffers, self.found).load()
        for names in self.found.values():
            names.update(self._space.get(names.get("__name__", ""), {}))
        return value

    def left(self) -> Space:
        """Return what is in these globals now."""
        space: dict[str, dict[str, Any]] = {}
        for names in self.found.values():
            kept = {name: thing for name, thing in names.items() if name not in _OF_THE_MODULE}
            space.setdefault(names.get("__name__", ""), {}).update(kept)
        return space


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, buffers: Iterable[Any], found: dict[int, dict[str, Any]]) -> None:
        super().__init__(file, buffers=buffers)
        self._found = found

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names; watch what makes functions."""
        thing = super().find_class(module, name)
        if name != _MAKES_FUNCTIONS or not isinstance(thing, FunctionType):
            return thing
        make = thing

        def make_watched(*args: Any) -> Any:
            function = make(*args)
            self._found[id(function.__globals__)] = function.__globals__
            return function

        return make_watched
