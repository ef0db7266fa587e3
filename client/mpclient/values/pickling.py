"""Users' values to blobs and back, and dict keys.

RULES
* None is `values.NONE`, always. What stands alone is plain bytes; a `Value` only where there is more to say.
* A value that mentions code no other process can import (things of ``__main__``, lambdas, closures, local
  classes) goes by value as a whole, with cloudpickle, under a tag that names this Python.
* A proxy met by our own picklers becomes a call of `open_ref` without an address and is noted in `refs`: the
  server then counts it, and gives the receiver a reference with the value. Any other pickler is a loan: see
  `objects.base.Proxy.__reduce__`.
* `sys.stdout` and `sys.stderr` arrive as the receiver's own. Other open files are refused: cloudpickle would
  send what is in them instead.
* References that came with a value are claimed before it is opened, so a value that cannot be read leaks
  none.
* A thread's pickler is used again for the next value. Who comes while it is in use (a value's own code, a
  signal handler) has another one, and only one that is clean is put back.

Cost: a value of plain types takes one pass of the C pickler; each class or function it names takes one
look-up more. cloudpickle is imported by the first value that needs it.
"""

from __future__ import annotations

import io
import pickle
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mpclient.values import partials
from mpclient.values.newer import LAZY, SENTINEL, import_now, reduce_sentinel
from mpclient.values.rows import load_values
from mpshared.bunch import Bunch
from mpshared.errors import BadValue
from mpshared.memory import keep_freed
from mpshared.values import (
    LONG_HEADER,
    NONE,
    PICKLE,
    PICKLE_PROTOCOL,
    Blob,
    PickledKey,
    Pieces,
    Value,
    by_value_tag,
    needs_python,
    ref_ids,
)

if TYPE_CHECKING:
    from mpclient.transport.term import SessionBase

__all__ = [
    "BUFFER_BYTES",
    "PLAIN",
    "SHORT",
    "ProxyBase",
    "current_session",
    "dumps",
    "dumps_key",
    "importable",
    "is_long",
    "loads",
    "loads_all",
    "loads_key",
    "own_buffers",
    "write_by",
]

BUFFER_BYTES: Final = 32 * 1024
"""Buffers from this size on travel beside the pickle, uncopied: from it on the wire sends a piece alone."""
_KEY_PROTOCOL: Final = 4
"""Keys are read by standard-library clients as they are: what Python 3.8 writes by default."""

PLAIN: Final = frozenset({int, str, bytes, float, bool, bytearray, complex, type(None)})
"""Types whose pickles mention nothing."""
_LONG: Final = frozenset({str, bytes, bytearray})
SHORT: Final = PLAIN - _LONG
"""Those of them whose values are never long."""
_SCALARS: Final = frozenset({bool, float, bytes, type(None)})
_KEPT_BYTES: Final = 1 << 16
"""The pickler of a value larger than this is not used again: it would keep the room for its pieces."""
_NOTED_BYTES: Final = 1 << 9
"""A value larger than this may have had its pickler note hundreds of objects. A table of notes never shrinks,
and to clear it takes as long as it once was large; so the next value is given a new one."""
_NEXT_BUFFER: Final = pickle.NEXT_BUFFER
_NO_NOTES: Final[dict[int, tuple[int, object]]] = {}


class ProxyBase:
    """What picklers recognise: a live shared object. `objects.base.Proxy` is the one subclass."""

    __slots__ = ()

    def _mention(self, session: SessionBase) -> tuple[tuple[Any, ...], tuple[str, ...]] | None:
        """Return (reduce, all idents in it) for a value to `session`'s server; None: it lives elsewhere."""
        raise NotImplementedError


class _CodeInside(Exception):
    """The value mentions code that cannot be imported elsewhere."""


class _Writer:
    """What both picklers share: where mentions and large buffers are put down."""

    __slots__ = ("buffers", "refs", "session")

    def __init__(self, session: SessionBase) -> None:
        self.session = session
        self.refs: list[str] = []
        self.buffers: list[memoryview] = []

    def keep_inside(self, buffer: pickle.PickleBuffer) -> bool:
        """Decide about one buffer: True leaves it in the pickle."""
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous: only the pickler can copy it
            return True
        if raw.nbytes < BUFFER_BYTES:
            return True
        self.buffers.append(raw)
        return False

    def mention(self, proxy: ProxyBase) -> Any:
        """Note a proxy and say how to write it."""
        found = proxy._mention(self.session)  # noqa: SLF001 - the two halves of one thing
        if found is None:
            return NotImplemented
        reduced, idents = found
        self.refs += idents
        return reduced

    def other(self, obj: Any) -> Any:
        """Say how to write what is one of `_others`."""
        return next(write for kind, write in _writers.items() if isinstance(obj, kind))(obj, self.session)

    def blob(self, tag: int, data: bytes) -> Blob:
        if tag == PICKLE and not self.refs and not self.buffers:
            return data
        return Value(tag, data, tuple(self.buffers), tuple(self.refs))  # type: ignore[arg-type]  # as good as bytes


class _Pieces(list[bytes]):
    """A file for a pickler: the pieces that it wrote. Long ones are the value's own."""

    __slots__ = ()
    write = list.append

    def pickle(self, *, whole: bool) -> bytes:
        """Return the pickle, as `Pieces` unless it has to be `whole`, or is of what its owner may change."""
        if len(self) == 1:
            return self[0]
        keep_freed()
        if whole or {*map(type, self)} != {bytes}:
            return b"".join(self)
        return Pieces(self)  # type: ignore[return-value]  # as good as bytes


class _Pickler(pickle.Pickler):
    """The C pickler, which stops where code would be sent by a name that means nothing elsewhere."""

    def __init__(self, session: SessionBase) -> None:
        _look_for_managers()
        self.pieces = _Pieces()
        self.writer = _Writer(session)
        super().__init__(self.pieces, PICKLE_PROTOCOL, buffer_callback=self.writer.keep_inside)

    def reducer_override(self, obj: Any) -> Any:
        """Look at what is not of a plain type: classes, functions, instances."""
        if isinstance(obj, ProxyBase):
            return self.writer.mention(obj)
        if isinstance(obj, (type, FunctionType)) and not importable(obj):
            if (reduced := _reduce_bound(obj)) is not None:
                return reduced
            raise _CodeInside
        return self.writer.other(obj) if isinstance(obj, _others) else NotImplemented


def _reduce_bound(obj: object) -> tuple[Any, ...] | None:
    """Write a class that is bound to a cluster of this program as the one that it was made from."""
    return vars(obj).get("_travels_as") if isinstance(obj, type) else None


_TextStream: Final[Any] = io.TextIOWrapper.__base__
"""What all text streams are; unlike `io.TextIOBase` it has no metaclass that makes the look costly."""


def _reduce_stream(obj: object, _session: SessionBase) -> Any:
    """Write `sys.stdout` and `sys.stderr` so that the receiver has its own; refuse other open files."""
    for name in ("stdout", "stderr"):
        if obj is getattr(sys, name) or obj is getattr(sys, f"__{name}__"):
            return standard_stream, (name,)
    if type(obj) is io.TextIOWrapper:
        raise TypeError("cannot pickle '_io.TextIOWrapper' object")
    return NotImplemented


_writers: Final[dict[Any, Callable[[Any, SessionBase], Any]]] = {_TextStream: _reduce_stream}
"""How instances of some classes are written, also of what is derived from them."""
_others: tuple[Any, ...] = tuple(_writers)


def write_by(kind: type, write: Callable[[Any, SessionBase], Any]) -> None:
    """Have what is of a class written by ``write(it, session)``: NotImplemented leaves it to itself."""
    global _others  # noqa: PLW0603 - asked for with each object
    _writers[kind] = write
    _others = tuple(_writers)


if SENTINEL:
    write_by(SENTINEL, reduce_sentinel)


def _look_for_managers() -> None:
    """Know how to write the proxies of a program's own managers, once there can be some."""
    if "multiprocessing.managers" in sys.modules:
        import mpclient.proxies  # noqa: F401, PLC0415 - heavy, and the import would be circular


def standard_stream(name: str) -> Any:
    """Return this process's `sys.stdout` or `sys.stderr`: how a pickled one opens."""
    return getattr(sys, name)


def importable(thing: type | FunctionType) -> bool:
    """Tell whether other programs find `thing` by its module and name."""
    name = thing.__module__
    if name in partials.MAIN:
        return False
    if name == "builtins":
        return True
    found: Any = sys.modules.get(name)
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is thing


def dumps(obj: object, session: SessionBase, *, whole: bool = True) -> Blob:
    """Pickle a user's value for `session`'s server; who only sends it need not have it `whole`.

    Raises:
        Whatever the object's own pickling raises; `TypeError` or `pickle.PicklingError` for what cannot be
        pickled.
    """
    if obj is None:
        return NONE
    kind = type(obj)
    if kind in PLAIN:
        if kind in _LONG and len(obj) >= BUFFER_BYTES:  # type: ignore[arg-type]  # `is_long`, at hand
            return _dumps_long(obj, whole=whole)
        return pickle.dumps(obj, PICKLE_PROTOCOL)
    if kind is partial and (short := partials.dump(obj)) is not None:  # type: ignore[arg-type]
        return short
    pickler, _own.pickler = _own.pickler, None
    if pickler is None:
        pickler = _Pickler(session)
    pickler.writer.session = session
    try:
        pickler.dump(obj)
    except (_CodeInside, pickle.PicklingError, AttributeError, TypeError):
        # Modules as attributes, functions that were replaced under their name, …: cloudpickle knows some of
        # them.
        return _dumps_by_value(obj, session)
    return _taken(pickler, whole=whole)


class _Own(threading.local):
    """What each thread has of its own."""

    pickler: _Pickler | None = None
    """Clean; None: in use, or there is none."""


_own = _Own()


def _taken(pickler: _Pickler, *, whole: bool) -> Blob:
    """Take what was written; put the pickler back where it is soon clean."""
    pieces, writer = pickler.pieces, pickler.writer
    if len(pieces) > 1 or writer.refs or writer.buffers:
        return writer.blob(PICKLE, pieces.pickle(whole=whole or bool(writer.refs or writer.buffers)))
    data = pieces[0]
    if len(data) <= _KEPT_BYTES:
        if len(data) <= _NOTED_BYTES:
            pickler.clear_memo()
        else:
            pickler.memo = _NO_NOTES
        pieces.clear()
        del writer.session  # nobody's is kept alive
        _own.pickler = pickler
    return data


def is_long(obj: object) -> bool:
    """Tell whether a plain value should not go to `pickle.dumps`."""
    return type(obj) in _LONG and len(obj) >= BUFFER_BYTES  # type: ignore[arg-type]


def _dumps_long(obj: object, *, whole: bool) -> bytes:
    """Pickle a long plain value; `pickle.dumps` would have memory mapped for it, twice, and given back."""
    pieces = _Pieces()
    pickle.Pickler(pieces, PICKLE_PROTOCOL).dump(obj)
    return pieces.pickle(whole=whole)


def own_buffers(blob: Blob) -> Blob:
    """Return the blob with copies of its buffers: its owner may change them before they are sent."""
    if isinstance(blob, Value) and blob.buffers:
        return blob._replace(buffers=tuple(map(bytes, blob.buffers)))
    return blob


def _dumps_by_value(obj: object, session: SessionBase) -> Blob:
    writer = _Writer(session)
    file = io.BytesIO()
    _code_pickler()(file, writer).dump(obj)
    return writer.blob(by_value_tag(), file.getvalue())


_CodePickler: Any = None


def _code_pickler() -> Any:
    """Return our cloudpickle pickler; imports cloudpickle the first time."""
    _look_for_managers()
    global _CodePickler  # noqa: PLW0603 - made once
    if _CodePickler is None:
        import cloudpickle  # noqa: PLC0415 - heavy, and most values do not need it

        class CodePickler(cloudpickle.Pickler):  # type: ignore[misc]
            def __init__(self, file: io.BytesIO, writer: _Writer) -> None:
                super().__init__(file, PICKLE_PROTOCOL, buffer_callback=writer.keep_inside)
                self._writer = writer

            def reducer_override(self, obj: Any) -> Any:
                if isinstance(obj, ProxyBase):
                    return self._writer.mention(obj)
                if LAZY and isinstance(obj, FunctionType) and not importable(obj):
                    import_now(obj.__code__, obj.__globals__)
                if isinstance(obj, CodeType):
                    return _with_file_name(self.dispatch_table[CodeType](obj), obj.co_filename)
                if (bound := _reduce_bound(obj)) is not None:
                    return bound
                reduced = self._writer.other(obj) if isinstance(obj, _others) else NotImplemented
                return super().reducer_override(obj) if reduced is NotImplemented else reduced

        _CodePickler = CodePickler
    main = sys.modules.get("__mp_main__")  # a spawned child's name for the program's main module
    if main is not None and main.__name__ == "__mp_main__":
        import cloudpickle  # noqa: PLC0415

        cloudpickle.register_pickle_by_value(main)
    return _CodePickler


def _with_file_name(reduced: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    """Keep the name of the file that code came from, for tracebacks: cloudpickle puts its own word there."""
    make, args, *rest = reduced
    return (make, tuple(name if arg == "<dynamic-code>" else arg for arg in args), *rest)


# -- reading --------------------------------------------------------------------------------------


class _Reading(threading.local):
    """Whose value this thread is opening: what `open_ref` without an address refers to."""

    session: SessionBase | None = None


_reading = _Reading()


def current_session() -> SessionBase | None:
    """Return the session whose value is being opened in this thread, if any."""
    return _reading.session


Load: TypeAlias = Callable[..., Any]
"""What opens a pickle: ``load(data, buffers=…)``."""


def loads(blob: Blob, session: SessionBase, load: Load = pickle.loads) -> Any:
    """Open one value that `session` was given, by `load`.

    Raises:
        BadValue: It holds code of another Python version.
        Whatever unpickling raises: a module missing here, a class that changed.
    """
    if blob == NONE:
        return None
    if type(blob) is not bytes:
        return loads_all((blob,), session, load)[0]
    before = _reading.session
    _reading.session = session
    try:
        return load(blob)
    finally:
        _reading.session = before


def loads_all(blobs: Sequence[Blob], session: SessionBase, load: Load = pickle.loads) -> list[Any]:
    """Open many values; see `loads`. The references of all are claimed even if one cannot be opened."""
    claimed = [] if type(blobs) is Bunch else [session.claim(ident) for ident in ref_ids(blobs)]
    before = _reading.session
    _reading.session = session
    try:
        if type(blobs) is Bunch:
            row = load_values(blobs)
            return [load(blob) for blob in blobs.cut()] if row is None else row
        return [load(blob) if type(blob) is bytes else _open_value(blob, load) for blob in blobs]
    finally:
        _reading.session = before
        claimed.clear()  # a traceback may keep this frame


def _open_value(value: Blob, load: Load) -> Any:
    needed, ours = needs_python(value), sys.version_info[:2]
    if needed is not None and needed != ours:
        raise BadValue(
            f"the value holds code from Python {needed[0]}.{needed[1]}, which this Python "
            f"{ours[0]}.{ours[1]} cannot run; put what it needs into a module that both can import, or use "
            f"one Python version",
            needed=list(needed),
            here=list(ours),
        )
    if isinstance(value, bytes):
        return load(value)
    if isinstance(value, Pieces):
        return _open_pieces(value, load)
    # A bytearray each: what was writable there is writable here (pickle wraps the others itself).
    return load(value.data, buffers=map(bytearray, value.buffers))


def _open_pieces(value: Pieces, load: Load) -> Any:
    """Open a pickle that came with its long bytes apart: they are taken into the value as they are."""
    begin, long, rest = value.parts
    return load(b"".join((begin[: -LONG_HEADER.size], _NEXT_BUFFER, rest)), buffers=(long,))


# -- keys -----------------------------------------------------------------------------------------


def dumps_key(key: Any) -> Any:
    """Return a dict key or set member as it travels: plain scalars as they are, others pickled.

    Raises:
        TypeError: It is not hashable, with the words of the standard library.
    """
    kind = type(key)
    if kind is str:
        return key if key.isascii() or _is_text(key) else PickledKey(pickle.dumps(key, _KEY_PROTOCOL))
    if kind in _SCALARS:
        return key
    if kind is int and -0x8000_0000_0000_0000 <= key < 0x8000_0000_0000_0000:
        return key
    hash(key)
    return PickledKey(pickle.dumps(key, _KEY_PROTOCOL))


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:  # a lone surrogate, from a file name perhaps: no text on the wire
        return False
    return True


def loads_key(key: Any) -> Any:
    """Return the key that `dumps_key` was given."""
    return pickle.loads(key) if type(key) is PickledKey else key
