"""The jobs of Pools and executors as values: what a program sends, and what a worker answers.

| value     | what is pickled                                                                         |
|-----------|-----------------------------------------------------------------------------------------|
| job       | ``(CALL, digest, args, kwargs)``, ``(MAP, digest, items)`` or ``(STAR, digest, items)`` |
| job of one item | ``(ITEM, digest, item)``; many of plain items as a row of `rows`                  |
| job of a standing pool | ``(ONCE, "", args, kwargs, function)``                                     |
| function  | itself; kept by the pool under its digest (`pool.teach`), once                           |
| source    | ``(bytes, where from)`` of a shipped module; kept in the same way                        |
| spec      | a `Spec`: plain data, so that it can be read before anything is imported                |
| result    | the answer itself; of `MAP` and `STAR` the list of answers                              |
| failure   | tag `RAISED`: ``(exception or None, the Python it needs, text, traceback, fields)``      |
| WorkerDied and failures of ours | tag `TASK_ERROR`, as on recipe queues                             |

RULES
* Nothing of a failure but its exception is anything but plain data, and that is opened last: what cannot be
  rebuilt by who asked still says what happened.
* An exception is pickled as any value is: code of ``__main__`` goes along, shared objects are counted.
"""

from __future__ import annotations

import pickle
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mpclient.values.pickling import dumps, loads
from mpclient.values.rows import MARK, dump_row, load_row
from mpshared.errors import TaskError
from mpshared.values import (
    PICKLE,
    PICKLE_PROTOCOL,
    RAISED,
    TASK_ERROR,
    Blob,
    Value,
    by_value_tag,
    data_of,
    needs_python,
    tag_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpclient.session import Session
    from mpclient.values.partials import Place
    from mpshared.bunch import Bunch

__all__ = [
    "CALL",
    "ITEM",
    "MAP",
    "ONCE",
    "STAR",
    "UNSENT",
    "Shipped",
    "Spec",
    "digest_of",
    "dump_items",
    "dump_raised",
    "dump_source",
    "dump_spec",
    "load_items",
    "load_source",
    "load_spec",
    "read_result",
]

CALL: Final = 0
"""One call: ``function(*args, **kwargs)``."""
MAP: Final = 1
"""A chunk: ``[function(item) for item in items]``."""
STAR: Final = 2
"""A chunk: ``[function(*item) for item in items]``."""

ONCE: Final = 3
"""One call of a function that comes along: ``function(*args, **kwargs)``."""

ITEM: Final = 4
"""One call: ``function(item)``. The commonest, and the shortest to write and to read."""

UNSENT: Final = "why_unsent"
"""Under this name a `MaybeEncodingError` holds why the answer could not be pickled: executors raise that."""

_DIGEST_BYTES: Final = 16
_ITEM: Final = MARK + b"K" + bytes((ITEM,)) + b"\x8c" + bytes((2 * _DIGEST_BYTES,))
"""How a job of one item in a row begins, before its digest."""
_ITEM_HEAD_BYTES: Final = len(_ITEM) + 2 * _DIGEST_BYTES
_ITEM_END: Final = b"\x87."


class Shipped(NamedTuple):
    """One module whose source a program brings along."""

    module: str
    """Its full name."""
    digest: str
    """What its source is taught under."""
    is_package: bool


class Spec(NamedTuple):
    """What the worker processes of a pool have to know before they run a job of it."""

    name: str = ""
    """How to call the pool in messages."""
    initializer: str | None = None
    """What the pair ``(function, initargs)`` is taught under: pickled together, opened after `shipped`."""
    shipped: tuple[Shipped, ...] = ()


def digest_of(blob: Blob) -> str:
    """Return the name of a value by its content: equal for equal bytes, tag and mentioned objects."""
    digest = blake2b(data_of(blob), digest_size=_DIGEST_BYTES)
    if isinstance(blob, Value):
        digest.update(repr((blob.tag, blob.refs, [len(buffer) for buffer in blob.buffers])).encode())
        for buffer in blob.buffers:
            digest.update(buffer)
    return digest.hexdigest()


def dump_spec(spec: Spec) -> bytes:
    """Return a spec as `pool.equip` takes it."""
    return pickle.dumps(tuple(spec._replace(shipped=tuple(map(tuple, spec.shipped)))), PICKLE_PROTOCOL)  # type: ignore[arg-type]


def load_spec(blob: Blob) -> Spec:
    """Return the spec that `dump_spec` was given."""
    name, initializer, shipped = pickle.loads(data_of(blob))
    return Spec(name, initializer, tuple(Shipped(*one) for one in shipped))


def dump_source(source: bytes, origin: str) -> bytes:
    """Return the source of a shipped module as `pool.teach` takes it.

    Args:
        source: The file's bytes; empty for a package without ``__init__``.
        origin: The file's path where it was read, for tracebacks.
    """
    return pickle.dumps((source, origin), PICKLE_PROTOCOL)


def load_source(blob: Blob) -> tuple[bytes, str]:
    """Return what `dump_source` was given."""
    source, origin = pickle.loads(data_of(blob))
    return source, origin


# -- many at once ---------------------------------------------------------------------------------


def dump_items(digest: str, items: Sequence[Any]) -> Bunch | None:
    """Return jobs of one item each; None: they have to be pickled one by one."""
    return dump_row(_ITEM + digest.encode(), items, _ITEM_END)


def load_items(bunch: Bunch) -> tuple[Place, Sequence[Any]] | None:
    """Return the function's place and the items of such jobs; None: they have to be opened one by one."""
    head = bunch.data[:_ITEM_HEAD_BYTES]
    if not head.startswith(_ITEM):
        return None
    items = load_row(bunch, head, _ITEM_END)
    return None if items is None else (("", head[len(_ITEM) :].decode(errors="replace")), items)


# -- failures -------------------------------------------------------------------------------------


def dump_raised(
    err: BaseException, text: str, traceback: str, fields: dict[str, Any], session: Session
) -> Value:
    """Return the result of a job that raised.

    Args:
        err: What it raised; left out where it cannot be pickled.
        text: One line: what happened, where.
        traceback: The remote traceback.
        fields: task, host, pid, worker, type: those of a `TaskError`.
        session: Whose result it is.
    """
    try:
        inside: Any = dumps(err, session)
    except BaseException as worse:  # noqa: BLE001 - users' __reduce__ and __getstate__
        fields = fields | {"unsent": type(worse).__name__}
        return Value(RAISED, pickle.dumps((None, None, text, traceback, fields), PICKLE_PROTOCOL))
    told = (data_of(inside), needs_python(inside), text, traceback, fields)
    buffers, refs = (inside.buffers, inside.refs) if isinstance(inside, Value) else ((), ())
    return Value(RAISED, pickle.dumps(told, PICKLE_PROTOCOL), buffers, refs)


def read_result(blob: Blob, session: Session) -> Any:
    """Return what a job answered, or raise what it raised.

    Raises:
        The original exception; its cause is a `multiprocessing.pool.RemoteTraceback`.
        TaskError: It cannot be rebuilt here, or the job never ran; `WorkerDied` is one.
        BadValue: The answer holds code of another Python version.
        Whatever opening the answer raises: a module missing here, a class that changed.
    """
    if type(blob) is bytes:
        return loads(blob, session)
    tag = tag_of(blob)
    if tag == RAISED:
        raise _rebuilt(blob, session)  # type: ignore[arg-type]  # bytes are PICKLE
    if tag == TASK_ERROR:
        raise loads(blob, session)
    return loads(blob, session)


def _rebuilt(value: Value, session: Session) -> BaseException:
    data, needed, text, traceback, fields = pickle.loads(value.data)
    tag = PICKLE if needed is None else by_value_tag(needed)
    if data is None:
        why = f"it cannot be pickled there ({fields['unsent']})"
    else:
        try:
            err = loads(Value(tag, data, value.buffers, value.refs), session)
        except Exception as worse:  # noqa: BLE001 - users' classes, or a module that is not here
            why = f"it cannot be rebuilt here ({type(worse).__name__}: {worse})"
        else:
            if isinstance(err, BaseException):
                err.__cause__ = _remote_traceback(traceback)
                return err
            why = f"it was rebuilt as a {type(err).__name__}"
    return TaskError(f"{text}. The exception itself is not passed on: {why}", traceback=traceback, **fields)


def _remote_traceback(text: str) -> Exception:
    from multiprocessing.pool import (  # type: ignore[attr-defined]  # noqa: PLC0415 - only for failures
        RemoteTraceback,
    )

    return RemoteTraceback(f'\n"""\n{text}"""')  # type: ignore[no-any-return]
