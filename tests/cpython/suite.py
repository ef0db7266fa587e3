"""CPython's own tests of `multiprocessing`, with `mpclient` where they import `multiprocessing`.

RULES
* The tests are those of the Python that runs this, read from its own `test` package and executed here: none
  is copied. Worker processes import this file as the program does.
* "One import line" is taken at its word: an import of `multiprocessing`, or of a module of it, gives ours.
* What the frame of the tests looks at behind the scenes is put in place; no more than that.
"""

from __future__ import annotations

import builtins
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tests.cpython.source import changed, find

import mpclient

_THEIRS: Final = "multiprocessing"
_INSIDE: Final = frozenset({"heap", "resource_tracker"})
"""Modules that the tests load before any of them runs, and we do not have; what needs them is left out."""


def _import(name: str, names: Any = None, local: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    """Import as `__import__`, with our package in place of the standard library's."""
    first, _, rest = name.partition(".")
    if level or first != _THEIRS:
        return builtins.__import__(name, names, local, fromlist, level)
    if "resource_tracker" in (fromlist or ()):
        return builtins.__import__(name, names, local, fromlist, level)
    if not rest or rest in _INSIDE:
        return mpclient
    module = import_module(f"mpclient.{rest}")
    return module if fromlist else mpclient


class _Shared:
    """A list that processes share: the tests make theirs of this machine's memory."""

    def __new__(cls) -> Any:
        return mpclient.Manager().list()


def _not_kept(_condition: object) -> Any:
    """Say to a test that counts the sleepers of a Condition that there is no such number."""
    raise NotImplementedError


def _prepare() -> None:
    for name in ("_dangling", "_cleanup", "_children"):
        setattr(
            import_module("mpclient.process"), name, getattr(import_module("multiprocessing.process"), name)
        )
    manager: Any = import_module("mpclient.managers").Manager
    manager._number_of_objects = lambda _self: 0
    condition: Any = import_module("mpclient.synchronize").Condition
    condition._sleeping_count = property(_not_kept)


def _load(path: Path, into: dict[str, Any]) -> None:
    """Execute the tests as the module that `into` belongs to, and make their classes as its files do."""
    into["__builtins__"] = {**vars(builtins), "__import__": _import}
    into["__file__"] = str(path)
    exec(compile(changed(path)[0], str(path), "exec", dont_inherit=True), into)
    into["_DummyList"] = _Shared
    made: dict[str, Any] = {"__name__": into["__name__"]}
    into["install_tests_in_module_dict"](made, "spawn")
    into.update({name: test for name, test in made.items() if isinstance(test, type) and name not in into})


if (_path := find()) is not None:
    _prepare()
    _load(_path, globals())
