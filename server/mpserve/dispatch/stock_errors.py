"""Errors on their way to a standard-library client: as its own server would have sent them.

| reply             | client raises            | for                                                      |
|-------------------|--------------------------|----------------------------------------------------------|
| `#ERROR`          | the exception itself     | what a method of an object raised                        |
| `#TRACEBACK`      | RemoteError with a text  | a function of the manager that failed (create, incref…), |
|                   |                          | an object or method that there is not                    |
| `#UNSERIALIZABLE` | RemoteError with a text  | a value that no client could be sent                     |

What mpserve refuses although the standard library would do it, it refuses by `#ERROR` everywhere: nobody
should have to search a traceback for the reason.
"""

from __future__ import annotations

from typing import Any, Final

from mpserve.dispatch.faces.base import CannotCopy, NotExposed
from mpserve.dispatch.stock_forms import ERROR, TRACEBACK, UNSERIALIZABLE
from mpshared import errors
from mpshared.symbolic import Global, How, MalformedPickle, Named, Stub
from mpshared.wire.errors import ProtocolError

__all__ = ["failure"]

_CLASSES: Final[dict[type[errors.MpserveError], tuple[str, str]]] = {
    errors.Empty: ("_queue", "Empty"),
    errors.Full: ("queue", "Full"),
    errors.BadIndex: ("builtins", "IndexError"),
    errors.BadValue: ("builtins", "ValueError"),
    errors.BadType: ("builtins", "TypeError"),
    errors.AttributeMissing: ("builtins", "AttributeError"),
    errors.Overflow: ("builtins", "OverflowError"),
    errors.NotHeld: ("builtins", "RuntimeError"),
    errors.LockAbandoned: ("builtins", "RuntimeError"),
    errors.DeadlockError: ("builtins", "RuntimeError"),
    errors.AlreadyReleased: ("builtins", "ValueError"),
    errors.BrokenBarrierError: ("threading", "BrokenBarrierError"),
    errors.Conflict: ("builtins", "ValueError"),
    errors.NotSupported: ("builtins", "NotImplementedError"),
    errors.NotAllowed: ("builtins", "PermissionError"),
    errors.TooBig: ("builtins", "ValueError"),
    errors.NoRoom: ("builtins", "OSError"),
    errors.TimeoutExpired: ("builtins", "TimeoutError"),
}
_BUILTINS: Final = (AttributeError, TypeError, ValueError, OverflowError, IndexError, RecursionError)
_REFUSED: Final = (errors.NotSupported, errors.NotAllowed)


def failure(err: Exception, key: Any, *, one_shot: bool) -> tuple[str, Any]:
    """Return kind and payload of the reply for an error.

    Args:
        err: What was raised.
        key: What a KeyError carries.
        one_shot: A function of the manager failed, and not a method of an object.
    """
    if isinstance(err, CannotCopy):
        return UNSERIALIZABLE, str(err)
    raised = _as_raised(err, key)
    if raised is None or isinstance(err, NotExposed) or (one_shot and not isinstance(err, _REFUSED)):
        return TRACEBACK, _traceback(err, raised)
    return ERROR, raised


def _as_raised(err: Exception, key: Any) -> Named | Stub | None:
    """Return the exception for a client to raise, or None when the standard library has none for it."""
    match err:
        case errors.Exhausted():
            return Named("builtins", "StopIteration", ())
        case errors.KeyMissing():
            return Named("builtins", "KeyError", (key,))
        case errors.ShutDown():
            return _shut_down(err.text)
        case errors.MpserveError():
            known = _CLASSES.get(type(err))
            return Named(*known, (err.text,)) if known else None
        case MalformedPickle():
            return Named("builtins", "ValueError", (f"the request cannot be read: {err}",))
        case _ if isinstance(err, _BUILTINS):
            name = next(c.__name__ for c in type(err).__mro__ if c.__module__ == "builtins")
            return Named("builtins", name, (str(err),))
    return None


def _shut_down(text: str) -> Stub:
    """Return `queue.ShutDown`; a reader older than 3.13, which has none, makes an EOFError of it.

    Not an Empty or Full: a loop that waits for better times would never end.
    """
    module = Stub(How.CALL, Global("importlib", "import_module"), ("queue",))
    instead = Global("builtins", "EOFError")
    found = Stub(How.CALL, Global("builtins", "getattr"), (module, "ShutDown", instead))
    return Stub(How.CALL, found, (text,))


def _traceback(err: Exception, raised: Named | Stub | None) -> str:
    """Return what stands where the standard library sends its server's traceback: the last line of one."""
    if isinstance(err, (errors.MpserveError, ProtocolError)) and raised is None:
        return f"{err}\n"
    name = raised.qualname if isinstance(raised, Named) else type(err).__name__
    return f"{name}: {err}\n"
