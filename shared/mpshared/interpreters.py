"""How this package starts processes of its own: a module of it in a fresh interpreter.

RULES
* A program that was frozen, by PyInstaller for one, is its own interpreter: `sys.executable` starts it again.
  Where it calls `freeze_support()` a module of ours runs instead. Without that call nothing is started: it
  would start itself without end.
"""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["freeze_support", "module_command"]

_RUN: Final = "--mpserve-run"
_supported = False


def module_command(module: str, *words: str) -> list[str]:
    """Return the command line that runs a module of this package, whatever the current folder holds.

    Raises:
        RuntimeError: The program is frozen, and has not called `freeze_support`.
    """
    if not _is_frozen():
        return [sys.executable, "-P", "-m", module, *words]
    if not _supported:
        raise RuntimeError(
            "this program is frozen, and starts server and workers by starting itself; so it has to call "
            "freeze_support() first of all: if __name__ == '__main__': mpclient.freeze_support()"
        )
    return [sys.executable, _RUN, module, *words]


def freeze_support() -> None:
    """Run a module of this package, or what `multiprocessing` would, and exit, in a frozen program that was
    started for it.
    """
    global _supported  # noqa: PLW0603 - said once, first of all
    if not _is_frozen():
        return
    if sys.argv[1:2] == [_RUN]:
        del sys.argv[1]
        module = sys.argv.pop(1)
        _supported = True
        import runpy  # noqa: PLC0415 - only here

        runpy.run_module(module, run_name="__main__", alter_sys=True)
        sys.exit()
    _supported = True
    import multiprocessing  # noqa: PLC0415 - only here

    multiprocessing.freeze_support()


def _is_frozen() -> bool:
    return bool(getattr(sys, "frozen", False))
