"""The objects that stand for what a pickle names: data about objects, never the objects.

| in the pickle                                    | stands here as |
|--------------------------------------------------|----------------|
| a global: a class or function by its name        | `Global`       |
| an object made by calling a global               | `Stub`         |
| a shared object (a proxy)                        | `Ref`          |
| a value the server does not open                 | `Opaque`       |
| a call that the server itself writes, e.g. an error | `Named`     |

RULES
* Nothing here imports, calls or looks up what it names. A name is two strings.
* Only `mpshared.symbolic.dump` pickles these: the pickle module would try to find our classes at the reader.
* A stub equals only itself and hashes by identity, so that building a dict costs what it should; what two
  stubs say is compared by `mpshared.symbolic.equal`, in bounded time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final, NoReturn, TypeAlias

__all__ = [
    "OWN",
    "Address",
    "Face",
    "Foreign",
    "Global",
    "How",
    "Named",
    "Opaque",
    "Own",
    "Ref",
    "Step",
    "Stock",
    "Stub",
    "Verb",
]

Address: TypeAlias = str | bytes | tuple[str | int, ...]
"""What ``multiprocessing`` calls an address: ``(host, port)``, or the path of a unix socket."""


class NeedsWriter(TypeError):
    """Raised into the pickle module when it meets a stub: only our own writer can write it."""


class Foreign:
    """Base of everything that only `mpshared.symbolic.dump` can write."""

    __slots__ = ()

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise NeedsWriter(
            f"{type(self).__name__} is a pickle's content kept as data; write it with mpshared.symbolic.dump"
        )


@dataclass(frozen=True, slots=True)
class Global(Foreign):
    """A name in a pickle: its reader would import it, it is never looked up here."""

    module: str
    qualname: str

    def __str__(self) -> str:
        return f"{self.module}.{self.qualname}"


class How(Enum):
    """Which of pickle's three ways made the object; the reader must go the same way."""

    CALL = "call"
    """``callee(*args)``: opcode REDUCE."""
    NEW = "new"
    """``callee.__new__(callee, *args)``: opcode NEWOBJ, `copyreg.__newobj__`."""
    NEW_EX = "new_ex"
    """``callee.__new__(callee, *args, **kwargs)``: opcode NEWOBJ_EX, `copyreg.__newobj_ex__`."""


class Verb(Enum):
    """What a pickle does to an object after it made it."""

    STATE = "state"
    """``__setstate__(content)``, or into its ``__dict__`` and slots: opcode BUILD."""
    APPEND = "append"
    """``extend(content)``, a list: opcodes APPEND and APPENDS."""
    STORE = "store"
    """``object[key] = value`` for the pairs in content, a list of tuples: opcodes SETITEM and SETITEMS."""
    ADD = "add"
    """``add(member)`` for those in content, a list: opcode ADDITEMS."""
    SETTER = "setter"
    """``function(object, state)`` for content ``(function, state)``: the sixth item of a ``__reduce__``."""


Step: TypeAlias = tuple[Verb, object]


class Stub(Foreign):
    """An object that a pickle makes by calling something: how it is made, and what is done to it then."""

    __slots__ = ("args", "callee", "how", "kwargs", "steps")

    def __init__(
        self,
        how: How,
        callee: Global | Stub,
        args: tuple[object, ...],
        kwargs: dict[str, object] | None = None,
    ) -> None:
        self.how = how
        self.callee = callee
        self.args = args
        self.kwargs = kwargs
        self.steps: list[Step] = []

    @property
    def name(self) -> str:
        """The dotted name at the root of what makes this object, for messages."""
        callee = self.callee
        while isinstance(callee, Stub):
            callee = callee.callee
        return str(callee)

    def __repr__(self) -> str:
        return f"<Stub of {self.name[:200]!r}>"  # and not what it holds: that may be cyclic, or huge


@dataclass(frozen=True, slots=True)
class Ref(Foreign):
    """A shared object met in a pickle. Equal and hashed by ident: two proxies of one object are the same."""

    kind: str = field(compare=False)
    """The kind as in `mpshared.ops`; for a typeid registered by a stock client's program: that typeid."""
    ident: str
    exposed: tuple[str, ...] | None = field(default=None, compare=False)
    """The methods of a stock AutoProxy, as its pickle gave them."""
    typeid: str = field(default="", compare=False)
    """The typeid in a stock proxy's token; "" when the reference came in our own form."""
    proxy: Global | None = field(default=None, compare=False)
    """The class, or AutoProxy, that a stock proxy named; None when the reference came in our own form."""


@dataclass(frozen=True, slots=True)
class Opaque(Foreign):
    """A pickle within, for the reader to open. The server opens it only to compare or show it."""

    data: bytes
    buffers: tuple[bytes, ...] = ()
    """Out-of-band buffers of protocol 5, in order."""


@dataclass(frozen=True, slots=True)
class Named(Foreign):
    """A call that the reader makes, written by the server: ``module.qualname(*args)``.

    For the exceptions and tokens of stock replies, whose classes need not exist in the server's Python
    (``queue.ShutDown`` is new in 3.13).
    """

    module: str
    qualname: str
    args: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Own:
    """Write shared objects as our client reads them: a call of `mpshared.values.open_ref`."""

    kind_of: Callable[[Ref], str] | None = None
    """Gives the kind to write for a reference; None takes `Ref.kind`. The server knows better where a stock
    program registered a typeid of its own."""


@dataclass(frozen=True, slots=True)
class Stock:
    """Write shared objects as the standard library pickles its proxies, which dial `address` when unpickled.

    No key is ever written: whoever unpickles authenticates with its own ``current_process().authkey``.
    """

    address: Address
    """The address that this reader dialled; the one in a reference that came in is never used."""
    exposed: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Methods by kind or typeid, for references that do not bring theirs. Without them the reader asks the
    server (``get_methods``), on a connection of its own for each proxy."""


Face: TypeAlias = Own | Stock

OWN: Final = Own()
