"""Modules that a program brought along: found here before all others, their source fetched from the pool.

RULES
* For exactly the shipped names, this finder is asked first; for all others it knows nothing.
* A module is imported once in a process. Whether what was imported is what the pool means now is for
  `judge` to say, before a job runs.
* What a worker process itself needs cannot be replaced by a shipped module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import decode_source
from types import ModuleType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from mpclient.values.jobs_format import Shipped

__all__ = ["Finder"]

Verdict = Literal["good", "stale", "taken"]
_OWN: Final = frozenset({"mpclient", "mpshared"})


class _Loader:
    """Loads one shipped module. It has no base in `importlib.abc`, which takes 5 ms to import."""

    def __init__(self, source: bytes, origin: str, *, is_package: bool) -> None:
        self._source = decode_source(source)
        self._origin = origin
        self._is_package = is_package

    def get_source(self, fullname: str) -> str:  # noqa: ARG002 - the import system's signature
        """Return the source, for tracebacks too."""
        return self._source

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002
        """Return where the file was read, on the program's host."""
        return self._origin

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        code = compile(self._source, self._origin, "exec", dont_inherit=True)
        exec(code, vars(module))  # noqa: S102 - it is what importing means

    def is_package(self, fullname: str) -> bool:  # noqa: ARG002
        """Tell whether it is a package."""
        return self._is_package


class Finder:
    """See the file's beginning.

    Args:
        fetch: Returns what is kept under a digest: source and origin.
        used: Is called when a shipped module is imported.
    """

    def __init__(self, fetch: Callable[[str], tuple[bytes, str]], used: Callable[[], None]) -> None:
        self._fetch = fetch
        self._used = used
        self._offered: dict[str, Shipped] = {}
        self._imported: dict[str, str] = {}
        """Names of the modules that were found here, and their digests."""
        self._first = frozenset(sys.modules)
        """What was imported before any job."""

    def install(self) -> None:
        """Have Python ask here first."""
        sys.meta_path.insert(0, self)

    def judge(self, shipped: Sequence[Shipped]) -> tuple[Verdict, str]:
        """Say whether these modules can be offered in this process, and the name of one that cannot.

        Returns:
            "stale": another process can: this one has imported something else of that name.
            "taken": no process can: worker processes have a module of that name themselves.
        """
        stale = ""
        for module, digest, _ in shipped:
            if module in self._first or module.partition(".")[0] in _OWN:
                return "taken", module
            if module in sys.modules and self._imported.get(module) != digest:
                stale = module
        return ("stale", stale) if stale else ("good", "")

    def offer(self, shipped: Sequence[Shipped]) -> None:
        """Find these modules from now on, and no others."""
        self._offered = {one.module: one for one in shipped}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return how to import a shipped module, None for all others.

        Raises:
            ImportError: Its source cannot be had.
        """
        shipped = self._offered.get(fullname)
        if shipped is None:
            return None
        source, origin = self._fetch(shipped.digest)
        loader = _Loader(source, origin, is_package=shipped.is_package)
        spec = ModuleSpec(fullname, loader, origin=origin, is_package=shipped.is_package)  # type: ignore[arg-type]
        spec.has_location = True  # gives the module a __file__, as its author expects
        self._imported[fullname] = shipped.digest
        self._used()
        return spec
