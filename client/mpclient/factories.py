"""The shared objects' factories, with the standard library's names and signatures.

RULES
* Keyword arguments of ours: `name` opens the object of that name, wherever it was made; `fresh` deletes a
  namesake first; `ttl` deletes a named object so many seconds after its last use.
* Only settings that were given are sent: a program that gives none takes the object as it is.
"""

from __future__ import annotations

from builtins import dict as _dict
from builtins import list as _list
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from mpclient.objects import find_class
from mpclient.objects.base import in_parts
from mpclient.values.pickling import dumps
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.objects.t_array import Array
    from mpclient.objects.t_barrier import Barrier
    from mpclient.objects.t_condition import Condition
    from mpclient.objects.t_dict import Dict
    from mpclient.objects.t_event import Event
    from mpclient.objects.t_list import List
    from mpclient.objects.t_lock import HasLockOps, Lock, Mutex
    from mpclient.objects.t_namespace import Namespace
    from mpclient.objects.t_pipe import Connection
    from mpclient.objects.t_queue import JoinableQueue, LifoQueue, PriorityQueue, Queue, SimpleQueue
    from mpclient.objects.t_rlock import RLock
    from mpclient.objects.t_semaphore import BoundedSemaphore, Semaphore
    from mpclient.objects.t_set import Set
    from mpclient.objects.t_value import Value
    from mpclient.session import Session
    from mpshared.values import Blob
    from mpshared.wire.own.frames import Reply

__all__ = ["Deadlock", "Factories", "Opening", "OwnerDeath", "given_of", "lock_name", "whole"]

OwnerDeath: TypeAlias = Literal["release", "raise", "hold"]
"""What becomes of a lock whose holder dies; see `Factories.Lock`."""
Deadlock: TypeAlias = Literal["report", "raise"]

_OPEN: Final = BY_NAME["cluster.open"]


class _Usual(int):
    """A default, shown as the number it is, that can be told from the same number given by the caller."""


_UNBOUNDED: Final = _Usual(0)
_ONE: Final = _Usual(1)


class Opening:
    """How objects are opened, whoever drives the call: it is the last step."""

    session: Any

    def _find_class(self, kind: str, flavour: str) -> Any:
        return find_class(kind, flavour)

    def make(
        self, kind: str, flavour: str, settings: Mapping[str, Any], values: Iterable[Any] = (), **more: Any
    ) -> Any:
        """Make an object without a name.

        Args:
            kind: As in the server's table.
            flavour: Which class it has here; see `mpclient.objects`.
            settings: As its kind has them.
            values: What it begins with.
            more: For the class.
        """
        return self._open(kind, flavour, settings, self._blobs(values), None, False, None, **more)

    def _open(
        self,
        kind: str,
        flavour: str,
        given: Mapping[str, Any],
        blobs: Sequence[Blob],
        name: str | None,
        fresh: bool,
        ttl: float | None,
        **more: Any,
    ) -> Any:
        def read(reply: Reply) -> Any:
            handle = self.session.claim(reply.result[0])
            return self._find_class(kind, flavour)(handle, name, **more)

        args = [kind, name, _dict(given), fresh, ttl]
        return self.session.call(_OPEN, "", args, blobs, read)

    def _is_mutex(self, lock: object) -> bool:
        """Tell whether it is a shared lock, whose calls are driven as these are."""
        raise NotImplementedError

    def _mutex(self, lock: Any) -> Any:
        """Return `lock` if it is a shared one: a lock of this program alone excludes nobody elsewhere."""
        if self._is_mutex(lock):
            return lock
        raise _NoLock(f"lock must be a shared Lock or RLock, made by this cluster, not {lock!r:.80}")

    def _lock_setting(self, lock: Any) -> _dict[str, Any]:
        """Return the settings of a condition on `lock`; None: on one of its own."""
        return {} if lock is None else {"lock": self._mutex(lock)._handle.ident}  # noqa: SLF001 - its own kind

    def _blobs(self, values: Iterable[Any]) -> _list[Blob]:
        return [dumps(value, self.session) for value in values]

    def _parts(self, values: Iterable[Any], *, is_new: bool) -> Iterator[Sequence[Blob]]:
        """Yield what a list begins with: all at once if it may exist already, and then stays as it is."""
        blobs = self._blobs(values)
        return in_parts(blobs) if is_new else iter([blobs])

    def _queue(
        self,
        flavour: str,
        maxsize: int,
        order: str | None,
        name: str | None,
        fresh: bool,
        ttl: float | None,
        buffered: bool,
    ) -> Any:
        if buffered and maxsize > 0:
            raise ValueError(
                "a queue with maxsize acknowledges every put; give buffered=True or maxsize, not both"
            )
        # A buffered put promises nothing about room: the queue must be, and stay, unbounded.
        asked = buffered or not isinstance(maxsize, _Usual)
        given = given_of(order=order, maxsize=max(0, maxsize) if asked else None)
        more = {"buffered": True} if buffered else {}
        return self._open("queue", flavour, given, (), name, fresh, ttl, **more)


class Factories(Opening):
    """What makes and opens shared objects; a `Cluster` is one."""

    session: Session

    def _is_mutex(self, lock: object) -> bool:
        from mpclient.objects.t_lock import Mutex  # noqa: PLC0415 - as all kinds

        return isinstance(lock, Mutex)

    # -- queues ----------------------------------------------------------------------------------

    def Queue(  # noqa: N802 - the standard library's name
        self,
        maxsize: int = _UNBOUNDED,
        *,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
        buffered: bool = False,
    ) -> Queue:
        """Return a queue: a new one, or the one named `name`.

        Args:
            maxsize: How many items have room; 0 or less: any number.
            name: See `Cluster`.
            fresh: Delete a namesake first.
            ttl: Seconds after its last use at which a named queue is deleted.
            buffered: `put` does not wait for the server (only without `maxsize`).
        """
        return self._queue("", maxsize, None, name, fresh, ttl, buffered)  # type: ignore[no-any-return]

    def JoinableQueue(  # noqa: N802
        self,
        maxsize: int = _UNBOUNDED,
        *,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
        buffered: bool = False,
    ) -> JoinableQueue:
        """Return a queue whose items are leased until `task_done`; see `Queue`."""
        return self._queue("JoinableQueue", maxsize, None, name, fresh, ttl, buffered)  # type: ignore[no-any-return]

    def SimpleQueue(  # noqa: N802
        self,
        *,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
        buffered: bool = False,
    ) -> SimpleQueue:
        """Return an unbounded queue; see `Queue`."""
        return self._queue("SimpleQueue", _UNBOUNDED, None, name, fresh, ttl, buffered)  # type: ignore[no-any-return]

    def LifoQueue(  # noqa: N802
        self,
        maxsize: int = _UNBOUNDED,
        *,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> LifoQueue:
        """Return a stack; see `Queue`."""
        return self._queue("LifoQueue", maxsize, "lifo", name, fresh, ttl, False)  # type: ignore[no-any-return]

    def PriorityQueue(  # noqa: N802
        self,
        maxsize: int = _UNBOUNDED,
        *,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> PriorityQueue:
        """Return a queue that gives the smallest item first; see `Queue`."""
        return self._queue("PriorityQueue", maxsize, "priority", name, fresh, ttl, False)  # type: ignore[no-any-return]

    def Pipe(self, duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: N802
        """Return the two ends of a new pipe; without `duplex` one only receives and the other only sends."""
        modes = ("rw", "rw") if duplex else ("r", "w")
        first = self.make("pipe", "", {}, mode=modes[0])
        second = self.make("pipe", "", {"peer": first._handle.ident}, mode=modes[1])  # noqa: SLF001 - its own kind
        return first, second

    # -- locks and signals -----------------------------------------------------------------------

    def Lock(  # noqa: N802
        self,
        *,
        on_owner_death: OwnerDeath | None = None,
        deadlock: Deadlock | None = None,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> Lock:
        """Return a lock that anybody may release.

        Args:
            on_owner_death: What becomes of it when its holder ends without a release. "release" (the usual):
                the next who waits has it. "raise": acquirers get `LockAbandoned` until one calls `recover()`.
                "hold": it stays locked until `recover()`, a `release()`, or `mpserve release`.
            deadlock: "report" (the usual): a deadlock is a line in the server's log. "raise": who would close
                the circle of those who wait for each other gets `DeadlockError`.
            name: See `Cluster`.
            fresh: Delete a namesake first.
            ttl: Seconds after its last use at which a named one is deleted.
        """
        given = given_of(on_owner_death=on_owner_death, deadlock=deadlock)
        return self._open("lock", "", given, (), name, fresh, ttl)  # type: ignore[no-any-return]

    def RLock(  # noqa: N802
        self,
        *,
        on_owner_death: OwnerDeath | None = None,
        deadlock: Deadlock | None = None,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> RLock:
        """Return a lock that its holder, one thread of one process, may take again; arguments as `Lock`."""
        given = given_of(on_owner_death=on_owner_death, deadlock=deadlock)
        return self._open("rlock", "", given, (), name, fresh, ttl)  # type: ignore[no-any-return]

    def Semaphore(  # noqa: N802
        self, value: int = _ONE, *, name: str | None = None, fresh: bool = False, ttl: float | None = None
    ) -> Semaphore:
        """Return a semaphore of `value` permits."""
        given = given_of(value=_asked(value))
        return self._open("semaphore", "", given, (), name, fresh, ttl)  # type: ignore[no-any-return]

    def BoundedSemaphore(  # noqa: N802
        self, value: int = _ONE, *, name: str | None = None, fresh: bool = False, ttl: float | None = None
    ) -> BoundedSemaphore:
        """Return a semaphore that never has more than `value` permits."""
        given = given_of(value=_asked(value), bounded=True)
        return self._open("semaphore", "BoundedSemaphore", given, (), name, fresh, ttl)  # type: ignore[no-any-return]

    def Condition(  # noqa: N802
        self,
        lock: HasLockOps | None = None,
        *,
        on_owner_death: OwnerDeath | None = None,
        deadlock: Deadlock | None = None,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> Condition:
        """Return a condition on `lock` (a shared Lock or RLock; None: an RLock of its own).

        The other arguments are those of `Lock`; `on_owner_death` and `deadlock` are its lock's.
        """
        given = self._lock_setting(lock) | given_of(on_owner_death=on_owner_death, deadlock=deadlock)
        return self._open("condition", "", given, (), name, fresh, ttl)  # type: ignore[no-any-return]

    def Event(self, *, name: str | None = None, fresh: bool = False, ttl: float | None = None) -> Event:  # noqa: N802
        """Return a flag to wait for."""
        return self._open("event", "", {}, (), name, fresh, ttl)  # type: ignore[no-any-return]

    def Barrier(  # noqa: N802
        self,
        parties: int,
        action: Callable[[], Any] | None = None,
        timeout: float | None = None,
        *,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> Barrier:
        """Return a meeting point.

        Args:
            parties: How many wait for each other.
            action: Called by one of them, in its own process, when all are there.
            timeout: Seconds for each `wait` that gives none.
            name: See `Cluster`.
            fresh: Delete a namesake first.
            ttl: Seconds after its last use at which a named one is deleted.
        """
        given = barrier_settings(parties, action, timeout)
        return self._open("barrier", "", given, (), name, fresh, ttl, action=action)  # type: ignore[no-any-return]

    # -- containers ------------------------------------------------------------------------------

    def dict(
        self,
        /,
        *args: Any,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
        **items: Any,
    ) -> Dict:
        """Return a shared dict, with the arguments of the builtin one.

        Of a dict that exists already (by `name`) only missing keys are set.
        """
        shared: Dict = self._open("dict", "", {}, (), name, fresh, ttl)
        first = _dict(*args, **items)
        if name is None or fresh:
            shared.update(first)
        else:
            for key, value in first.items():
                shared.setdefault(key, value)
        return shared

    def list(
        self,
        sequence: Iterable[Any] = (),
        /,
        *,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> List:
        """Return a shared list. One that exists already, by `name`, stays as it is."""
        parts = self._parts(sequence, is_new=name is None or fresh)
        shared: List = self._open("list", "", {}, next(parts), name, fresh, ttl)
        for part in parts:
            shared.extend_blobs(part)
        return shared

    def set(
        self,
        iterable: Iterable[Any] = (),
        /,
        *,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> Set:
        """Return a shared set. To one that exists already, by `name`, the members are added."""
        shared: Set = self._open("set", "", {}, (), name, fresh, ttl)
        shared.update(iterable)
        return shared

    def Namespace(  # noqa: N802
        self, /, *, name: str | None = None, fresh: bool = False, ttl: float | None = None, **attributes: Any
    ) -> Namespace:
        """Return an object with shared attributes."""
        shared: Namespace = self._open("namespace", "", {}, (), name, fresh, ttl)
        for attribute, value in attributes.items():
            setattr(shared, attribute, value)
        return shared

    def Value(  # noqa: N802
        self,
        typecode_or_type: Any,
        *args: Any,
        lock: bool | Mutex | None = True,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> Value:
        """Return a shared number, byte ("c"), character ("u") or truth value (`ctypes.c_bool`).

        Args:
            typecode_or_type: A type code of the `array` module or a simple `ctypes` type.
            *args: The first value.
            lock: True (or None) makes an RLock for `get_lock`; or the lock to use; False: none, and no
                `get_lock`.
            name: See `Cluster`.
            fresh: Delete a namesake first.
            ttl: Seconds after its last use at which a named one is deleted.
        """
        from mpclient.objects.t_value import first_value, typecode_of  # noqa: PLC0415 - as all kinds

        typecode = typecode_of(typecode_or_type)
        blobs = self._blobs([first_value(typecode, args)])
        mutex = self._lock_for("value", lock, name)
        flavour = "RawValue" if mutex is None else "Value"
        given = {"typecode": typecode}
        more = {"typecode": typecode, "lock": mutex}
        return self._open("value", flavour, given, blobs, name, fresh, ttl, **more)  # type: ignore[no-any-return]

    def Array(  # noqa: N802
        self,
        typecode_or_type: Any,
        size_or_initializer: int | Sequence[Any],
        *,
        lock: bool | Mutex | None = True,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> Array:
        """Return a shared array; arguments as `Value`, and a length or the first numbers (bytes, text)."""
        from mpclient.objects.t_array import array_settings, typecode_of  # noqa: PLC0415 - as all kinds

        typecode = typecode_of(typecode_or_type)
        given = array_settings(typecode, size_or_initializer)
        mutex = self._lock_for("array", lock, name)
        flavour = "RawArray" if mutex is None else "Array"
        more = {"typecode": typecode, "lock": mutex}
        return self._open("array", flavour, given, (), name, fresh, ttl, **more)  # type: ignore[no-any-return]

    def _lock_for(self, kind: str, lock: bool | Mutex | None, name: str | None) -> Mutex | None:
        """Return the lock of a Value or Array; that of a named one is found under a name made of its."""
        if lock is True or lock is None:
            return self._open("rlock", "mp.RLock", {}, (), lock_name(kind, name), False, None)  # type: ignore[no-any-return]
        return None if lock is False else self._mutex(lock)


def lock_name(kind: str, name: str | None) -> str | None:
    """Return the name of the lock that goes with a Value or Array of that name."""
    return None if name is None else f"{name} (lock of the {kind})"


def given_of(**settings: Any) -> _dict[str, Any]:
    """Return the settings that were given."""
    return {key: value for key, value in settings.items() if value is not None}


def _asked(value: int) -> int | None:
    """Return a semaphore's permits; None if the caller left it at the default."""
    return None if isinstance(value, _Usual) else whole(value, "value")


def barrier_settings(parties: int, action: object, timeout: float | None) -> _dict[str, Any]:
    """Return the settings of a barrier; see `Factories.Barrier`."""
    has_action = action is not None or None
    return given_of(parties=whole(parties, "parties"), has_action=has_action, timeout_s=timeout)


class _NoLock(TypeError, AttributeError):
    """Something was given as a lock that is none; the standard library finds that it has no `acquire`."""


def whole(value: Any, what: str) -> int:
    """Return a whole number, also from what only behaves as one (numpy's)."""
    import operator  # noqa: PLC0415

    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{what} must be a whole number, not {value!r:.40}") from None
