"""Barrier: as `threading.Barrier`. Its action runs in one of the waiting programs, never on the server."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from mpclient.objects.base import Held, Proxy
from mpclient.objects.readers import nothing, plain
from mpclient.objects.waiting import event_timeout
from mpclient.values.pickling import dumps, loads
from mpshared.errors import BrokenBarrierError, MpserveError
from mpshared.ops import BY_NAME
from mpshared.values import PICKLE, Value

if TYPE_CHECKING:
    from mpclient.transport.references import Handle
    from mpshared.ops import Op
    from mpshared.wire.own.frames import Reply

__all__ = ["CLASSES", "NO_ACTION", "Barrier", "HasAction"]

_WAIT: Final[Op] = BY_NAME["barrier.wait"]
_ACTION_DONE: Final[Op] = BY_NAME["barrier.action_done"]
_RESET: Final[Op] = BY_NAME["barrier.reset"]
_ABORT: Final[Op] = BY_NAME["barrier.abort"]
_STATUS: Final[Op] = BY_NAME["barrier.status"]

NO_ACTION: Final = (
    "the {} has an action, and this program, which came last, opened it without; open it with the action, or "
    "send the barrier itself"
)

Action = Callable[[], Any]


class HasAction(Held):
    """A barrier, and its action, whoever drives its calls."""

    __slots__ = ("_action",)

    kind: ClassVar[str] = "barrier"
    flavour: ClassVar[str] = "Barrier"

    def __init__(self, handle: Handle, name: str | None = None, *, action: Action | None = None) -> None:
        super().__init__(handle, name)
        self._action = action

    @classmethod
    def from_handle(cls, handle: Handle, details: str) -> Self:
        """Make the proxy that was pickled, with its action."""
        return cls(handle, action=_read_action(handle, details) if details else None)

    def _details(self) -> str:
        # Whoever comes last runs the action, so every copy has it. It travels with the proxy, as text.
        return "" if self._action is None else _write_action(self._handle, self._action)


class Barrier(HasAction, Proxy):
    """A meeting point of so many threads or processes, on any hosts."""

    __slots__ = ()

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all parties are here; return this one's number, from 0 in order of arrival.

        Args:
            timeout: Seconds, after which the barrier breaks for all; None: the barrier's own, if it has one.

        Raises:
            BrokenBarrierError: It is broken, breaks, or is reset. If the action raised, that is raised in the
                party that ran it.
        """
        before = self._handle.session.before_call()
        try:
            index, must_act = self._call(_WAIT, event_timeout(timeout), read=plain)
            if must_act:
                self._act()
        except MpserveError:
            raise
        except BaseException:
            self._take_back(before)  # else the others would wait for an action that has not begun
            raise
        return int(index)

    def _act(self) -> None:
        """Run the action and let the others go on; if it fails, or this copy has none, the barrier breaks."""
        done = False
        try:
            if self._action is None:
                raise BrokenBarrierError(NO_ACTION.format(self._label))
            self._action()
            done = True
        finally:
            self._call(_ACTION_DONE, done, read=nothing)

    def reset(self) -> None:
        """Begin anew; who waits gets `BrokenBarrierError`."""
        return self._call(_RESET, read=nothing)

    def abort(self) -> None:
        """Break it: who waits, and who comes, gets `BrokenBarrierError`."""
        return self._call(_ABORT, read=nothing)

    @property
    def parties(self) -> int:
        """How many must be here."""
        return self._status()[0]

    @property
    def n_waiting(self) -> int:
        """How many are here."""
        return self._status()[1]

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return self._status()[2]

    def _status(self) -> tuple[int, int, bool]:
        return self._call(_STATUS, read=_read_status)


def _read_status(reply: Reply) -> tuple[int, int, bool]:
    parties, waiting, broken = reply.result
    return int(parties), int(waiting), bool(broken)


def _write_action(handle: Handle, action: Action) -> str:
    session = handle.session
    blob = dumps(action, session)
    value = blob if isinstance(blob, Value) else Value(PICKLE, blob)
    for ident in value.refs:  # nobody counts what is mentioned in this text: lend it
        if (mentioned := session.references.find(ident)) is not None:
            mentioned.lend()
    parts = [base64.b85encode(part).decode("ascii") for part in (value.data, *value.buffers)]
    return ":".join([str(value.tag), *parts])


def _read_action(handle: Handle, text: str) -> Action:
    """Return the action that a pickled barrier brought along."""
    tag, *parts = text.split(":")
    data, *buffers = map(base64.b85decode, parts)
    action: Action = loads(Value(int(tag), data, tuple(buffers)), handle.session)
    return action


CLASSES: Final[dict[str, type[Proxy]]] = {"Barrier": Barrier}
