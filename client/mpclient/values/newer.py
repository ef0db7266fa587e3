"""What Python 3.15 has that its picklers leave at home: names imported lazily, and a program's own sentinels.

RULES
* What code that goes by value imports lazily is imported before it is sent, as if it had been called here.
* A sentinel of a program's main file is one object in each process that it comes to, whatever brings it, and
  its own again where it comes home.
"""

from __future__ import annotations

import builtins
import sys
import types
from operator import attrgetter
from types import CodeType
from typing import Any, Final

from mpclient.values.partials import MAIN

__all__ = ["LAZY", "SENTINEL", "import_now", "main_sentinel", "reduce_sentinel"]

LAZY: Final[Any] = getattr(types, "LazyImportType", None)
"""What a module has in place of a name until it is used; None: this Python imports nothing lazily."""
SENTINEL: Final[Any] = getattr(builtins, "sentinel", None)
"""The class of sentinels, where there is one."""
_made: Final[dict[tuple[str, str], Any]] = {}


def import_now(code: CodeType, names: dict[str, Any]) -> None:
    """Import what code would import at its first use, `names` being its module's."""
    for name in code.co_names:
        if isinstance(lazy := names.get(name), LAZY):
            names[name] = lazy.resolve()
    for lazy in tuple(sys.lazy_modules):  # type: ignore[attr-defined]  # new in 3.15
        first, _, within = lazy.partition(".")
        # Of `lazy import a.b`, only `a` is bound; `b` is imported when `a` is asked for it.
        if (
            within
            and {first, *within.split(".")} <= {*code.co_names}
            and names.get(first) is sys.modules.get(first)
        ):
            attrgetter(within)(names[first])
    for const in code.co_consts:
        if isinstance(const, CodeType):
            import_now(const, names)


def reduce_sentinel(obj: Any, _session: object) -> Any:
    """Write a sentinel of the main file so that the receiver has its own.

    Others are found by their name. One that its main file does not have under that is refused, as by pickle.
    """
    given = obj.__name__, repr(obj)
    if obj.__module__ in MAIN and main_sentinel(*given) is obj:
        return main_sentinel, given
    return NotImplemented


def main_sentinel(name: str, shown: str) -> Any:
    """Return the main file's sentinel of this name; where it has none, as in a worker, one made for it.

    Raises:
        TypeError: This Python has no sentinels.
    """
    found: Any = sys.modules.get("__main__")
    for part in name.split("."):
        found = getattr(found, part, None)
    if SENTINEL is None:
        raise TypeError(f"the value holds the sentinel {shown}, which needs Python 3.15 or newer")
    if isinstance(found, SENTINEL):
        return found
    made = SENTINEL(name, repr=shown)
    made.__module__ = "__main__"
    return _made.setdefault((name, shown), made)
