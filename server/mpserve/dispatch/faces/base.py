"""What all faces share: plans, and values on their way in and out.

| way | what happens                                                                                      |
|-----|---------------------------------------------------------------------------------------------------|
| in  | a request is loaded symbolically; each value in it is written back as a pickle of its own: `store`  |
| out | a stored value goes out as a pickle that the client opens: `show`; or is looked into where the      |
|     | standard library's method must, for representations, comparisons, sums: `look`                      |
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from mpshared import symbolic
from mpshared.ops import BY_NAME
from mpshared.symbolic import Named, Opaque, Own, Ref
from mpshared.values import NONE, PICKLE, TASK_ERROR, Blob, PickledKey, Value

__all__ = [
    "CannotCopy",
    "Default",
    "Face",
    "NewProxy",
    "NotExposed",
    "Plan",
    "every",
    "kind_of",
    "look",
    "look_key",
    "nothing",
    "only",
    "show",
    "show_all",
    "show_key",
    "store",
    "store_key",
]

Then = Callable[[Any, Sequence[Blob]], Any]
"""Makes the result of a call from its answer; may be another `Plan`."""


def nothing(_result: Any, _out: Sequence[Blob]) -> None:
    """Make None of any answer."""


def result_itself(result: Any, _out: Sequence[Blob]) -> Any:
    """Make the plain result of the answer the result."""
    return result


def only(_result: Any, out: Sequence[Blob]) -> Any:
    """Make the one value of the answer the result."""
    return show(out[0])


def every(_result: Any, out: Sequence[Blob]) -> list[Any]:
    """Make a list of all values of the answer the result."""
    return show_all(out)


@dataclass(slots=True)
class Plan:
    """One operation, and what becomes of its answer."""

    op: str
    args: list[Any] = field(default_factory=list)
    values: list[Blob] = field(default_factory=list)
    then: Then = result_itself
    target: str = ""
    key: Any = None
    """What a KeyError shall carry; a `Default`: what to return instead of raising one."""
    lets_others: bool = False
    """It is one of many steps, and other clients come before it."""


class Default:
    """What to return instead of raising KeyError."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class NewProxy:
    """A result that the client gets as a new proxy (`#PROXY`)."""

    __slots__ = ("ident", "kind", "typeid")

    def __init__(self, typeid: str, kind: str, ident: str) -> None:
        self.typeid = typeid
        self.kind = kind
        self.ident = ident


class NotExposed(AttributeError):
    """The object has no such method for clients."""


class CannotCopy(TypeError):
    """The object itself cannot be sent to a client (the standard library could not pickle it either)."""


class Face:
    """The methods of one stock object. Subclasses name them as the standard library does.

    A method with two underscores at each end is named with an ``m`` before them here.
    """

    EXPOSED: ClassVar[tuple[str, ...]] = ()
    STORES: ClassVar[frozenset[str]] = frozenset()
    """Methods that store their one argument, and do nothing else with it."""
    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""
    """What messages about wrong arguments call the class."""
    _methods: ClassVar[dict[str, Callable[..., Any]]] = {}
    _ops: ClassVar[dict[str, str]] = {}
    """Names of the kind's operations, by their methods."""

    def __init_subclass__(cls) -> None:
        for name, function in vars(cls).items():
            if callable(function) and not name.startswith("__"):
                function.__qualname__ = f"{cls.title}.{name.removeprefix('m') if name[:3] == 'm__' else name}"
        names = {*cls.EXPOSED, "__str__", "__repr__"}
        cls._methods = {name: getattr(cls, "m" + name if name.startswith("__") else name) for name in names}
        cls._methods["#GETVALUE"] = cls.getvalue
        cls._ops = {op.method: op.name for op in BY_NAME.values() if op.kind == cls.kind}

    def __init__(self, ident: str) -> None:
        self._ident = ident

    def _plan(
        self,
        method: str,
        *args: Any,
        values: Iterable[Blob] = (),
        then: Then = result_itself,
        key: Any = None,
    ) -> Plan:
        return Plan(self._ops[method], list(args), list(values) if values else [], then, self._ident, key)

    def invoke(self, method: str, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        """Return the plan of a stock call.

        Raises:
            NotExposed: The object has no such method.
            TypeError: The arguments do not fit it.
        """
        function = self._methods.get(method)
        if function is None:
            raise NotExposed(
                f"method {method!r:.200} of a shared {self.kind} is not in exposed={self.EXPOSED!r}"
            )
        return function(self, *args, **kwds)

    def m__str__(self) -> Any:
        """Return what `str()` of the stock object gives."""
        return self.m__repr__()

    def m__repr__(self) -> Any:
        """Return a text that says what it is. Its ident is no secret to who could ask."""
        return f"<mpserve {self.kind} {self._ident}>"

    def getvalue(self) -> Any:
        """Return a copy of the object; most cannot be copied out of the server."""
        raise CannotCopy(f"a shared {self.kind} cannot be copied out of the server; keep using its proxy")


# -- values ---------------------------------------------------------------------------------------


_TYPEID_KINDS: Final = {"get_tasks": "queue", "get_results": "queue", "get_joinable_queue": "queue"}


def kind_of(ref: Ref) -> str:
    """Return the kind of a reference whose typeid is one of the named ones (``get_queue``)."""
    return _TYPEID_KINDS.get(ref.kind, ref.kind.removeprefix("get_"))


_OWN: Final = Own(kind_of)
_PROTOCOL: Final = 4
_SCALARS: Final = frozenset({bytes, str, int, float, bool})
_MARK: Final = b"open_ref"
"""Stands in every pickle that mentions a shared object; only such a pickle is read again for its
references."""


def store(obj: Any) -> Blob:
    """Return a symbolically loaded object as a value of its own."""
    if obj is None:
        return NONE
    if type(obj) in _SCALARS:
        return pickle.dumps(obj, _PROTOCOL)
    data = symbolic.dump(obj, face=_OWN)
    if _MARK not in data:  # a large bytes object is not searched
        return data
    _, refs = symbolic.load_with_refs(data)
    return Value(PICKLE, data, (), tuple(refs)) if refs else data


def show(blob: Blob) -> Any:
    """Return what stands for a stored value in a stock reply: the client opens it."""
    if blob == NONE:
        return None
    if type(blob) is bytes:
        return Opaque(blob)
    assert isinstance(blob, Value)
    if blob.tag & 0xFF == TASK_ERROR:
        return Named("multiprocessing.managers", "RemoteError", (_task_text(blob),))
    return look(blob) if blob.refs else Opaque(blob.data, blob.buffers)


def _task_text(blob: Value) -> str:
    """Return message and traceback of a TaskError: ``make(code, text, fields)`` in its pickle."""
    match symbolic.load(blob.data):
        case symbolic.Stub(args=(_, str(text), dict(fields))):
            return f"{text}\n{fields.get('traceback', '')}"
    return "a job failed; open this result with mpclient to see why"


def show_all(blobs: Iterable[Blob]) -> list[Any]:
    """Return `show` of each value."""
    return [show(blob) for blob in blobs]


def look(blob: Blob) -> Any:
    """Return a stored value as a symbolic object."""
    if type(blob) is bytes:
        return symbolic.load(blob)
    assert isinstance(blob, Value)
    return symbolic.load(blob.data, buffers=blob.buffers)


_INT64 = range(-(2**63), 2**63)


def store_key(key: Any) -> Any:
    """Return a symbolic object as a dict key: scalars as they are, the rest pickled."""
    kind = type(key)
    if key is None or kind in {str, bytes, float, bool} or (kind is int and key in _INT64):
        return key
    symbolic.key(key)  # refuses what cannot be hashed, with Python's own words
    return PickledKey(symbolic.dump(key, face=_OWN))


def look_key(key: Any) -> Any:
    """Return a key of the wire as a symbolic object."""
    return symbolic.load(bytes(key)) if type(key) is PickledKey else key


def show_key(key: Any) -> Any:
    """Return a key of the wire as it stands in a stock reply."""
    return Opaque(bytes(key)) if type(key) is PickledKey else key
