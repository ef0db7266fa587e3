"""docs/reference/compatibility.md: what was compared, and with what outcome (`scripts/compatibility`)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from tests.conformance.harness import CASES, PAGE_PYTHON, Case, Result, render

__all__ = ["PAGE", "all_cases", "make_page", "sections"]

PAGE = Path(__file__).parents[2] / "docs/reference/compatibility.md"

_SECTIONS = (
    ("The module and its contexts", "module"),
    ("Processes", "process"),
    ("Pools", "pool"),
    ("Queues", "queues"),
    ("Pipes and connections", "connection"),
    ("Locks and signals", "sync"),
    ("Shared numbers", "numbers"),
    ("Managers", "managers"),
)
"""Headings, and the file of their cases."""

_PYTHON = ".".join(map(str, PAGE_PYTHON))
_HEAD = f"""# Compatibility

<!-- Made by scripts/compatibility. Change the cases in tests/conformance/ instead. -->

What `mpclient` does in place of `multiprocessing`, name by name. Each line was found by calling both
with the same arguments: the standard library of Python {_PYTHON}, and `mpclient` on a real server with
workers. What they returned and raised was compared, exceptions and their texts included. The numbers
tell how many calls; a test repeats all of them and fails if one has another outcome than it has here.

CPython's own tests of `multiprocessing` are run with us in its place, too: [what passes](cpython-tests.md),
and what is left out for which reason.

| word | meaning |
| --- | --- |
| same | the same values, the same exceptions with the same texts, in all calls that are not named |
| other text | the same exception with another text: ours, and the standard library's |
| differs | another outcome, and why |
| newer | as the standard library from Python 3.14 on, with every Python; a test compares the two there |
| refused | an error that says why, and what to do instead |

What holds everywhere:

- Values are pickled and sent, never shared as memory: who changes a copy changes that copy. Code of
  `__main__`, lambdas and local classes travel along.
- `__main__` is never run again elsewhere, as `spawn` does under the name `__mp_main__`: its functions and
  classes travel with the globals that they name, as these are then. What else its top level does
  (`logging.basicConfig`, `os.environ`, `sys.path`, seeds) holds in the program alone: do it in the function,
  or in an initializer. So code of an interactive Python, of `python -c` and of notebooks runs as well, and
  needs no `if __name__ == "__main__"`.
- An exception of ours is of more than one class: an `Empty` is a `queue.Empty`, a lock that is not held
  a `RuntimeError` and a `ValueError`.
- The names below have the standard library's arguments and no others. `name=`, `fresh=`, `ttl=` and such
  belong to the methods of a `Cluster` (`mpclient.connect()`), whose locks and queues otherwise follow
  those of a Manager.
- `repr` of a shared object names it and its server, and asks nobody for its state. A Process whose program
  was killed is ended; what a process held that died is handed on.
- Without a bound, the queues of the module are buffered, as the standard library's: `put` does not wait.
  What cannot be pickled is refused by `put` itself, not by a thread that prints it later.
- `multiprocessing.dummy` and `multiprocessing.util` are the standard library's own, also as `mpclient.dummy`
  and `mpclient.util`.
- Shared lists, dicts and sets compare on the server, which runs no code of a program: objects are equal there
  when they are of one class and hold the same (`in`, `index`, `count`, `remove`), whatever `__eq__` says.
- The classes in `multiprocessing.queues` and `multiprocessing.synchronize` may be called with `ctx=`, which
  may be left out, and derived from.
- Servers and worker hosts run on Linux, where all of this was tested. They are written for macOS, too, and
  programs also for Windows, where they use servers and worker hosts elsewhere. Neither system was at hand:
  types are checked for both, a test runs a program in a Python from which all is taken that Windows lacks,
  and some tests were run once in one that lacks what macOS does (epoll, memfd, sockets without a file).
- Any number of threads may share what is here. Tried was Python with a GIL, also with threads that change at
  random between bytecodes. A free-threaded Python was not at hand: nothing is known of it.
"""


def all_cases() -> list[Case]:
    """Return all cases, in the order of the page."""
    if not CASES:
        for _, name in _SECTIONS:
            import_module(f"tests.conformance.cases_{name}")
    return CASES


def make_page(results: Sequence[Result]) -> str:
    """Return the page for the results of `all_cases`, in their order."""
    parts = [_HEAD]
    for heading, name in _SECTIONS:
        of = [
            result for result in results if result.case.steps.__module__ == f"tests.conformance.cases_{name}"
        ]
        parts += [f"## {heading}\n", *map(render, of)]
    return "\n".join(parts)


def sections(page: str) -> list[str]:
    """Return the headings of the cases on a page."""
    return [line.removeprefix("### ") for line in page.splitlines() if line.startswith("### ")]
