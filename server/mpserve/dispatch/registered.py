"""Classes of the operator's own, served to stock clients: `mpserve start --register package.module:Class`.

    loop     request ── judged, written anew ──► threads     reply ◄── call_soon_threadsafe ── threads
    threads  restricted unpickling → the object's method → its result, pickled

RULES
* The operator's code never runs in the loop: not to import a value, not to call, not to free an object.
* At most `THREADS` calls run and `WAITING_MAX` wait; more are refused. A call whose client is gone runs to
  its end all the same: nothing can stop a thread.
* Arguments are plain data and objects of the registered modules. Anything else that a pickle names is refused
  before it is imported: a client's key opens the registered classes, not a shell on the server.
* Who refers to an object is counted in the engine, where a `core.t_registered.Registered` stands for it; the
  object itself is dropped when that is gone.

Source: CPython `Lib/multiprocessing/managers.py`, `Server.create` and `Server.serve_client`.
"""

from __future__ import annotations

import importlib
import io
import os
import pickle
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from mpserve.dispatch.faces.base import Plan
from mpserve.dispatch.faces.creation import CREATORS
from mpserve.dispatch.judging import judge
from mpserve.dispatch.stock_forms import ERROR, RETURN, TRACEBACK, UNSERIALIZABLE
from mpshared import symbolic
from mpshared.errors import NotSupported

__all__ = [
    "BadRegistration",
    "Made",
    "RegisteredClasses",
    "Registration",
    "from_registry",
    "load_registrations",
]

THREADS: Final = 32
WAITING_MAX: Final = 1024
"""Calls that may wait for a thread. Each holds its arguments in memory."""
SWEEP_S: Final = 5.0
"""How long an object may outlive its place in the engine, where its end went unnoticed."""

Done: TypeAlias = Callable[[Any, bytes], None]
"""Is given what the work was for (or None), and the reply; in the loop."""

PLAIN: Final = {
    "builtins": {
        "bool",
        "bytearray",
        "bytes",
        "complex",
        "dict",
        "float",
        "frozenset",
        "int",
        "list",
        "object",
    }
    | {"range", "set", "slice", "str", "tuple"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "uuid": {"UUID"},
}
"""Names of the standard library that a registered object may be given: data, and nothing that acts."""


class BadRegistration(ValueError):
    """A value of --register cannot be used; the text says which and why."""


# -- what is registered ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registration:
    """One typeid: what makes its objects, what clients may call, and whose objects these may be given."""

    make: Callable[..., Any]
    modules: frozenset[str]
    exposed: tuple[str, ...] | None = None
    """None: the public methods."""


def from_registry(registry: Mapping[str, tuple[Any, ...]]) -> dict[str, Registration]:
    """Return what a program registered with its manager and mpserve does not serve by itself.

    Args:
        registry: `BaseManager._registry`: typeid -> (callable, exposed, method_to_typeid, proxytype).
    """
    from multiprocessing.managers import SyncManager  # noqa: PLC0415 - slow, and few register anything

    known = SyncManager._registry  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way to see it
    found = {}
    for typeid, (make, exposed, method_to_typeid, _proxytype) in registry.items():
        if make is None or make is known.get(typeid, (None,))[0]:
            continue
        names = None if exposed is None else (*exposed, *(method_to_typeid or ()))
        found[typeid] = Registration(make, frozenset({make.__module__}), names)
    return found


def load_registrations(values: Sequence[str]) -> dict[str, Registration]:
    """Import what is to be served; return it by typeid, which is the last part of its name.

    Modules are found as by `python -m`: in the current folder first.

    Raises:
        BadRegistration: For the first value that cannot be used.
    """
    if values and os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds text
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    found: dict[str, Registration] = {}
    for value in values:
        typeid, registration = _load(value)
        if typeid in CREATORS or typeid in found:
            raise BadRegistration(
                f"{value}: there is a {typeid!r} already, and clients could not tell them apart; "
                "rename one of them"
            )
        found[typeid] = registration
    return found


def _load(value: str) -> tuple[str, Registration]:
    module_name, _, path = value.partition(":")
    if not path or not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        raise BadRegistration(f"{value}: write it as package.module:Class")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as err:
        raise BadRegistration(
            f"{value}: importing {module_name} failed: {type(err).__name__}: {err}"
        ) from err
    for part in path.split("."):
        if not hasattr(found, part):
            raise BadRegistration(f"{value}: {module_name} has no {path}")
        found = getattr(found, part)
    if not callable(found):
        raise BadRegistration(f"{value}: {path} is no class, and no function that makes an object")
    modules = frozenset({module_name, getattr(found, "__module__", module_name)})
    return path.rpartition(".")[2], Registration(found, modules)


# -- what they may be given ------------------------------------------------------------------------


class _Restricted(pickle.Unpickler):
    """Opens what is made of plain data and of classes of the registered modules."""

    def __init__(self, data: bytes, modules: frozenset[str]) -> None:
        super().__init__(io.BytesIO(data))
        self._modules = modules

    def find_class(self, module: str, name: str) -> Any:
        """Return a class that may be given to a registered object."""
        if name in PLAIN.get(module, ()):
            return super().find_class(module, name)
        if self._is_registered(module):
            found = super().find_class(module, name)
            # A module may have imported anything: only what it has itself defined is its own.
            if isinstance(found, type) and self._is_registered(found.__module__):
                return found
        modules = ", ".join(sorted(self._modules))
        raise NotSupported(
            f"{module[:100]}.{name[:100]} cannot be given to a registered object: it takes plain data and "
            f"objects of classes of {modules}; the operator decides with --register"
        )

    def _is_registered(self, module: str) -> bool:
        return any(module == own or module.startswith(own + ".") for own in self._modules)


# -- threads ---------------------------------------------------------------------------------------


class _Threads:
    """Threads that come when they are needed, and do not keep the process from ending."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0
        self._unfinished = 0
        self._lock = threading.Lock()

    def run(self, job: Callable[[], None], *, always: bool = False) -> bool:
        """Have a job run soon, which raises nothing; tell whether there was room for it."""
        with self._lock:
            if self._unfinished >= THREADS + WAITING_MAX and not always:
                return False
            self._unfinished += 1
            needed = self._threads < min(self._unfinished, THREADS)
            self._threads += needed
        self._jobs.put(job)
        if needed:
            threading.Thread(target=self._work, name=f"registered-{self._threads}", daemon=True).start()
        return True

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # or what it holds would stay until the next one
            with self._lock:
                self._unfinished -= 1

    def close(self) -> None:
        """End the threads that have nothing to do; the others are not waited for."""
        for _ in range(self._threads):
            self._jobs.put(None)


# -- objects ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Made:
    """What a creation gave: one object, for clients to use once it has a place in the engine."""

    typeid: str
    obj: Any
    exposed: tuple[str, ...]


class RegisteredClasses:
    """The operator's classes and their objects.

    Args:
        registrations: What to serve, by typeid.
        call_soon: Runs a function in the loop; may be called from any thread.
        kind_of: Tells whether an ident still has a place in the engine.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        registrations: Mapping[str, Registration],
        call_soon: Callable[[Callable[[], None]], None],
        kind_of: Callable[[str], str | None],
        clock: Callable[[], float],
    ) -> None:
        self._registrations = registrations
        self._modules = frozenset[str]().union(*(each.modules for each in registrations.values()))
        self._call_soon = call_soon
        self._kind_of = kind_of
        self._clock = clock
        self._threads = _Threads()
        self._held: dict[str, Made] = {}
        self._idents: dict[int, str] = {}
        """Idents by the id of the object."""
        self._sweep_due_s: float | None = None
        self.exposed: dict[str, tuple[str, ...]] = {}
        """Methods by typeid, of those that were made at least once."""

    def __contains__(self, typeid: object) -> bool:
        """Tell whether there is such a class."""
        return typeid in self._registrations

    def methods(self, ident: str) -> tuple[str, ...]:
        """Return the methods of an object; () for one that is gone."""
        held = self._held.get(ident)
        return () if held is None else held.exposed

    # -- in the loop ---------------------------------------------------------------------------------

    def create(self, typeid: str, arguments: object, done: Done) -> bool:
        """Make an object; `done` gets a `Made`, or None and the reply that says what went wrong.

        Args:
            typeid: One that is registered.
            arguments: (args, kwds), as `symbolic.load` returned them.
            done: Called in the loop, later.

        Returns:
            Whether there is room for it; without, `done` is not called.

        Raises:
            NotSupported, BadValue: The arguments must not be opened.
        """
        from multiprocessing.managers import public_methods  # type: ignore[attr-defined]  # noqa: PLC0415

        data = _written(arguments)
        registration = self._registrations[typeid]

        def job() -> None:
            outcome: Made | None = None
            reply = b""
            try:
                args, kwds = _Restricted(data, self._modules).load()
                obj = registration.make(*args, **kwds)
                outcome = Made(typeid, obj, registration.exposed or tuple(public_methods(obj)))
            except NotSupported as err:
                reply = _refusal(err)
            except BaseException:  # noqa: BLE001 - whatever the operator's class raises is the client's answer
                reply = _dumps(TRACEBACK, traceback.format_exc())
            self._call_soon(lambda: done(outcome, reply))

        return self._threads.run(job)

    def plan_for(self, made: Made) -> Plan:
        """Return the plan that gives the creator its reference to an object, and the object its place.

        A function may return the same object again and again: the idiom of recipes that register `get_queue`.
        """
        known = self._idents.get(id(made.obj))
        if known is not None and self._kind_of(known) is not None:
            return Plan("cluster.adopt", [[known]], then=lambda _r, _o: (known, made.exposed))

        def keep(opened: Any, _out: Any) -> tuple[str, tuple[str, ...]]:
            ident: str = opened[0]
            self._keep(ident, made)
            return ident, made.exposed

        return Plan("cluster.open", ["registered", None, {"typeid": made.typeid}, False, None], then=keep)

    def _keep(self, ident: str, made: Made) -> None:
        self._held[ident] = made
        self._idents[id(made.obj)] = ident
        self.exposed[made.typeid] = made.exposed
        if self._sweep_due_s is None:
            self._sweep_due_s = self._clock() + SWEEP_S

    def drop(self, made: Made) -> None:
        """Forget an object that nobody waits for any more."""
        ended, made.obj = [made.obj], None
        self._end(ended)

    def _end(self, objects: list[Any]) -> None:
        """Let objects end in a thread: it may be the operator's code, too. Nobody else may hold them now."""
        self._threads.run(objects.clear, always=True)

    def call(self, ident: str, method: str, arguments: object, done: Done) -> bool:
        """Call a method of an object; `done` gets None and the reply. See `create`."""
        data = _written(arguments)
        held = self._held.get(ident)

        def job() -> None:
            reply = _answer(held, ident, method, data, self._modules)
            self._call_soon(lambda: done(None, reply))

        return self._threads.run(job)

    def forget_if_gone(self, ident: str) -> None:
        """Drop the object if nothing stands for it in the engine any more."""
        if ident in self._held and self._kind_of(ident) is None:
            ended = [self._held.pop(ident).obj]
            if self._idents.get(id(ended[0])) == ident:
                del self._idents[id(ended[0])]
            self._end(ended)

    # -- time ----------------------------------------------------------------------------------------

    def next_deadline_s(self) -> float | None:
        """Return when to look for objects whose end nobody told of: those that were stored in containers."""
        return self._sweep_due_s

    def advance(self, now_s: float) -> None:
        """Look for them."""
        for ident in list(self._held):
            self.forget_if_gone(ident)
        self._sweep_due_s = now_s + SWEEP_S if self._held else None

    def close(self) -> None:
        """Let the threads end."""
        self._threads.close()


def _written(arguments: object) -> bytes:
    """Return a pickle that a thread may open, written anew: nothing of the request's own bytes remains."""
    data = symbolic.dump(arguments, face=symbolic.OWN)
    judge(arguments, len(data))
    return data


# -- in a thread -----------------------------------------------------------------------------------

_FALLBACKS: Final[dict[str, Callable[[Any], Any]]] = {
    "__str__": str,
    "__repr__": repr,
    "#GETVALUE": lambda obj: obj,
}


def _answer(held: Made | None, ident: str, method: str, data: bytes, modules: frozenset[str]) -> bytes:
    """Return the reply to a call, whatever happens."""
    if held is None:
        return _dumps(TRACEBACK, f"NoSuchObject: {ident[:80]} was lost when the server was restarted\n")
    try:
        function = _function(held, method)
    except AttributeError:
        return _dumps(TRACEBACK, traceback.format_exc())
    try:
        args, kwds = _Restricted(data, modules).load()
        result = function(*args, **kwds)
    except NotSupported as err:
        return _refusal(err)
    except Exception as err:  # noqa: BLE001 - as above
        return _dumps(ERROR, err)
    except BaseException:  # noqa: BLE001 - a SystemExit is not to end the client
        return _dumps(TRACEBACK, traceback.format_exc())
    return _dumps(RETURN, result)


def _function(held: Made, method: str) -> Callable[..., Any]:
    if method in held.exposed:
        return getattr(held.obj, method)  # type: ignore[no-any-return]
    if method in _FALLBACKS:
        return lambda *args, **kwds: _FALLBACKS[method](held.obj, *args, **kwds)
    raise AttributeError(
        f"method {method!r:.200} of {type(held.obj).__name__!r} object is not in exposed={held.exposed!r}"
    )


def _refusal(err: NotSupported) -> bytes:
    return _dumps(ERROR, NotImplementedError(err.text))


def _dumps(kind: str, payload: Any) -> bytes:
    """Pickle a reply for any Python from 3.8, as the standard library's server would."""
    from multiprocessing.reduction import ForkingPickler  # noqa: PLC0415 - slow, and few register anything

    try:
        return bytes(ForkingPickler.dumps((kind, payload), 4))
    except Exception:  # noqa: BLE001 - the operator's classes decide what it raises
        return bytes(ForkingPickler.dumps((UNSERIALIZABLE, traceback.format_exc()), 4))
