"""What all shared objects have in common: a handle, calls, and a life in pickles.

RULES
* A proxy holds a handle and nothing that changes: two proxies of one object are equal and interchangeable.
* Pickled by our own pickler it is a mention, which the server counts. Pickled by any other it is a loan: the
  pickle says where the server is, and the server keeps the object a while for whoever opens it. The key is
  only in pickles that `multiprocessing` makes to start a child of this very program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from mpclient.values.pickling import ProxyBase, dumps, dumps_key, loads, loads_all
from mpshared.errors import KeyMissing, NoSuchObject, NotSupported, ServerRestarted
from mpshared.values import VALUES_MOST, open_ref

if TYPE_CHECKING:
    from mpclient.transport.references import Handle
    from mpclient.transport.term import SessionBase
    from mpshared.ops import Op
    from mpshared.tls import ClientTls
    from mpshared.values import Blob
    from mpshared.wire.own.frames import Reply

__all__ = ["PART", "REQUIRED", "Held", "Proxy", "in_parts", "is_spawning", "missing"]


T = TypeVar("T")
PART: Final = VALUES_MOST // 2
"""So many values go with one call where there are more: the server does nothing else meanwhile."""
REQUIRED: Final = object()
"""Stands for a default that was not given."""


class Held(ProxyBase):
    """One shared object as this process holds it, whoever drives its calls."""

    __slots__ = ("__weakref__", "_handle", "_name")

    kind: ClassVar[str]
    flavour: ClassVar[str] = ""
    """Which class of its kind it is, "" for the kind's usual one."""

    def __init__(self, handle: Handle, name: str | None = None) -> None:
        self._handle = handle
        self._name = name

    @classmethod
    def from_handle(cls, handle: Handle, details: str) -> Self:
        """Make the proxy that was pickled with `details` (see `_details`)."""
        _ = details
        return cls(handle)

    # -- what travels ----------------------------------------------------------------------------

    def _gone(self, err: NoSuchObject) -> NoSuchObject | ServerRestarted:
        """Tell an object that was freed from one that went with its server."""
        handle = self._handle
        if handle.epoch == handle.session.references.epoch:
            if err.fields.get("ident") != handle.ident:
                return err
            text = f"the {self._label} does not exist any more: it was deleted, or nothing referred to it"
            return NoSuchObject(text, **err.fields)
        return ServerRestarted(
            f"the {self._label} is lost: the server at {handle.session.address} was restarted without its "
            f"state; open it again"
        )

    def _read_value(self, reply: Reply) -> Any:
        """Open the one value of an answer."""
        try:
            return loads(reply.blobs[0], self._handle.session)
        except Exception as err:
            err.add_note(f"while opening a value from the {self._label}")
            raise

    def _read_values(self, reply: Reply) -> list[Any]:
        return loads_all(reply.blobs, self._handle.session)

    def _blob(self, value: Any) -> Blob:
        return dumps(value, self._handle.session)

    def _blobs(self, values: Iterable[Any]) -> list[Blob]:
        session = self._handle.session
        return [dumps(value, session) for value in values]

    @property
    def _label(self) -> str:
        return f"{self.kind} {self._name!r}" if self._name else f"{self.kind} {self._handle.ident}"

    # -- in pickles ------------------------------------------------------------------------------

    def _details(self) -> str:
        """Return what a copy elsewhere must know besides kind and ident; no "/" in it."""
        return ""

    @property
    def _kind_text(self) -> str:
        details = self._details()
        if details:
            return f"{self.kind}/{self.flavour}/{details}"
        return f"{self.kind}/{self.flavour}" if self.flavour else self.kind

    def _handles(self) -> tuple[Handle, ...]:
        """Return the handles of all objects that a copy elsewhere needs."""
        return (self._handle,)

    def _mention(self, session: SessionBase) -> tuple[tuple[Any, ...], tuple[str, ...]] | None:
        handle = self._handle
        if handle.session is not session and handle.session.server_id != session.server_id:
            return None
        idents = tuple([held.ident for held in self._handles()])
        return (open_ref, (self._kind_text, handle.ident, "")), idents

    def __reduce__(self) -> tuple[Any, ...]:
        handle = self._handle
        session = handle.session
        for held in self._handles():
            held.lend()
        address = session.advertise or str(session.address)
        if is_spawning():
            # Its child runs this very program for this very user: it may know the key.
            return _open_with_key, (
                *(self._kind_text, handle.ident),
                *(str(session.address), session.key, session.tls),
            )
        return open_ref, (self._kind_text, handle.ident, address)

    # -- looking ---------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name or self._handle.ident} at {self._handle.session.address}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Held):
            return self._handle is other._handle or self._handle.ident == other._handle.ident
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._handle.ident)


class Proxy(Held):
    """One shared object; a call waits for its answer."""

    __slots__ = ()

    # -- calling ---------------------------------------------------------------------------------

    def _call(self, op: Op, *args: Any, blobs: Sequence[Blob] = (), read: Callable[[Reply], T]) -> T:
        """Make one call on the object; return what `read` makes of the answer."""
        handle = self._handle
        try:
            return handle.session.call(op, handle.ident, list(args), blobs, read)  # type: ignore[no-any-return]
        except NoSuchObject as err:
            raise self._gone(err) from None
        finally:
            if handle.bell is not None:
                handle.bell.quiet()

    def _take(self, op: Op, *args: Any, read: Callable[[Reply], T]) -> T:
        """Make a call that takes something: the server takes it back if the caller is interrupted."""
        handle = self._handle
        before = handle.session.before_call()
        try:
            return handle.session.call(op, handle.ident, list(args), (), read)  # type: ignore[no-any-return]
        except NoSuchObject as err:
            raise self._gone(err) from None
        except Exception:
            raise
        except BaseException:
            self._take_back(before)
            raise
        finally:
            if handle.bell is not None:
                handle.bell.quiet()

    _finish = _call
    """Makes a call that gives something up: who is cancelled (see `aio`) has given it up all the same."""

    def _look_up(
        self,
        op: Op,
        key: Any,
        *args: Any,
        read: Callable[[Reply], T],
        default: Any = REQUIRED,
    ) -> T:
        """Make a call about one key; one that is missing is a KeyError, or `default` where that is given."""
        handle = self._handle
        try:
            return handle.session.call(op, handle.ident, [dumps_key(key), *args], (), read)  # type: ignore[no-any-return]
        except KeyMissing as err:
            return missing(key, err, default)  # type: ignore[no-any-return]
        except NoSuchObject as err:
            raise self._gone(err) from None

    def _take_back(self, before: int) -> None:
        """Have the server take back what the call after `before` took, for a caller that was interrupted.

        The interruption (Ctrl-C) came after the answer and before the caller had it. What comes later is the
        caller's own affair.
        """
        self._handle.session.take_back(before + 1)

    # -- as the standard library's proxies -------------------------------------------------------

    def _callmethod(
        self, methodname: str, args: Sequence[Any] = (), kwds: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a method by its name, as `multiprocessing.managers.BaseProxy` has it.

        Raises:
            AttributeError: There is none of that name.
        """
        if methodname.startswith("_") and not methodname.endswith("__"):
            raise AttributeError(f"the {self._label} has no method {methodname!r} to be called")
        return getattr(self, methodname)(*args, **(kwds or {}))

    def _getvalue(self) -> Any:
        """Return a plain copy of what it stands for; what has none refuses."""
        raise NotSupported(f"the {self._label} lives on the server, and there is no copy of it to be had")


def in_parts(things: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield all of them, `PART` at a time; once where there are none."""
    for start in range(0, max(1, len(things)), PART):
        yield things[start : start + PART]


def missing(key: Any, err: KeyMissing, default: Any) -> Any:
    """Return `default`, or raise what says which key is missing."""
    if default is not REQUIRED:
        return default
    error = KeyError(key)
    error.add_note(err.text)
    raise error from None


def is_spawning() -> bool:
    """Tell whether `multiprocessing` is pickling what a new child process is to begin with."""
    context = sys.modules.get("multiprocessing.context")
    return context is not None and context.get_spawning_popen() is not None


def _open_with_key(kind: str, ident: str, address: str, key: bytes, tls: ClientTls | None) -> Any:
    """Open a shared object in a child process of the program that pickled it."""
    from mpclient.resolve import learn_key  # noqa: PLC0415 - only in children

    learn_key(address, key, tls)
    return open_ref(kind, ident, address)
