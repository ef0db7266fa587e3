"""What cannot travel, by name: the path from a job to the attribute that cannot be pickled.

RULES
* The exception keeps its type. What pickle itself raised has the path in its text; what users' code raised
  (`__reduce__`, `__getstate__`) is left as it is, with the path as a note.
* The search runs only after a failure, pickles parts of the job again, and is bounded.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from mpclient.values.jobs_format import CALL, ITEM
from mpclient.values.pickling import dumps
from mpshared.text import shorten

if TYPE_CHECKING:
    from mpclient.session import Session
    from mpshared.values import Blob

__all__ = ["explained", "pickled", "roots_of"]

_DEPTH: Final = 30
_TRIES: Final = 1000
_OURS: Final = (TypeError, AttributeError, pickle.PicklingError)
"""What picklers raise for what they do not know."""
_STANDARD: Final = frozenset(f"multiprocessing.{name}" for name in ("queues", "sharedctypes", "synchronize"))
_SCALARS: Final = frozenset({int, float, str, bytes, bool, complex, type(None)})


def pickled(thing: Any, roots: Iterable[tuple[str, Any]], session: Session) -> Blob:
    """Pickle a thing; its roots are for what is said where that fails: see `explained`.

    Raises:
        Whatever pickling it raises, with the name of what cannot travel.
    """
    try:
        return dumps(thing, session)
    except Exception as err:  # noqa: BLE001 - whatever it is, it is raised again, with a name in it
        refusal = explained(err, roots, session)
    raise refusal


def explained(err: Exception, roots: Iterable[tuple[str, Any]], session: Session) -> Exception:
    """Return the exception to raise for what pickling raised.

    Args:
        err: What it raised.
        roots: What was pickled, with the names that users know it by; paths begin with these.
        session: As for `dumps`.
    """
    found = _Search(session).find(roots)
    if found is None:
        return err
    path, culprit = found
    advice = f"{path} (a {shorten(type(culprit).__qualname__, 80)}) cannot travel to a worker. " + (
        "It is the standard library's, for processes of one machine: `import mpclient as multiprocessing` "
        "where it is made"
        if _is_standard(culprit)
        else "Leave it out (`__getstate__` can), or make it where the job runs"
    )
    if type(err) in _OURS and len(err.args) == 1 and isinstance(err.args[0], str):
        told = type(err)(f"{err.args[0]}: {advice}")
        told.__cause__ = err
        return told
    err.add_note(advice)
    return err


def roots_of(job: tuple[Any, ...], first: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a job (see `jobs_format`) by the names that users know.

    Args:
        job: The job.
        first: Of a chunk: which item of the iterable is its first one.
    """
    if job[0] == CALL:
        yield from (("job.args", job[2]), ("job.kwds", job[3]))
    elif job[0] == ITEM:
        yield f"items[{first}]", job[2]
    else:
        yield from ((f"items[{first + index}]", item) for index, item in enumerate(job[2]))


def _is_standard(thing: Any) -> bool:
    """Tell whether a thing is one of `multiprocessing`, for which there is one of ours."""
    return type(thing).__module__ in _STANDARD


class _Search:
    """One search for a culprit."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: set[int] = set()
        self._alive: list[Any] = []
        """What was looked at: an address must not be used again while the search runs."""

    def find(self, roots: Iterable[tuple[str, Any]]) -> tuple[str, Any] | None:
        """Return path and object of the innermost part that cannot be pickled; None: all of them can."""
        path, found, parts = "", None, roots
        for _ in range(_DEPTH):
            culprit = next(((path + step, part) for step, part in parts if self._fails(part)), None)
            if culprit is None:
                break
            found = culprit
            path, parts = culprit[0], _parts(culprit[1])
        return found

    def _fails(self, part: Any) -> bool:
        if type(part) in _SCALARS or id(part) in self._seen or len(self._alive) >= _TRIES:
            return False
        self._seen.add(id(part))
        self._alive.append(part)
        try:
            dumps(part, self._session)
        except Exception:  # noqa: BLE001 - whatever it is, here is where it comes from
            return True
        return False


def _parts(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield what pickling a thing pickles, with the step that leads there."""
    if _is_standard(thing):
        return  # what it is made of helps nobody
    if isinstance(thing, Mapping):
        for key, value in list(thing.items()):
            yield f"[{shorten(repr(key), 40)}]", value
            yield f".keys()[{shorten(repr(key), 40)}]", key
    elif isinstance(thing, list | tuple | set | frozenset):
        for index, part in enumerate(thing):
            yield f"[{index}]", part
    elif isinstance(thing, partial):
        yield from ((".func", thing.func), (".args", thing.args), (".keywords", thing.keywords))
    elif isinstance(thing, MethodType):
        yield ".__self__", thing.__self__
    elif isinstance(thing, FunctionType):
        yield from _parts_of_function(thing)
    elif isinstance(thing, type):
        for name, value in list(vars(thing).items()):
            yield f".{name}", value
    else:
        yield from _parts_of_object(thing)


def _parts_of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function that travels by value takes along."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"'s variable {name!r}", cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f"'s global {name!r}", function.__globals__[name]
    yield ".__defaults__", function.__defaults__
    yield ".__kwdefaults__", function.__kwdefaults__


def _parts_of_object(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield the state that an object's own pickling gives; nothing where that is what fails."""
    try:
        reduced: Any = thing.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - users' code, or a type that says no
        return
    if not isinstance(reduced, tuple):
        return
    parts: list[Any] = [*reduced, None, None, None]
    args, state = parts[1:3]
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, dict):
            yield from ((f".{name}", value) for name, value in list(part.items()))
        elif part is not None:
            yield ".__getstate__()", part
    for index, part in enumerate(args if isinstance(args, tuple) else ()):
        yield f".__reduce__()[1][{index}]", part
    for items in parts[3:5]:
        yield from ((f"[{index}]", part) for index, part in enumerate(items or ()))
