"""Shared objects in pickles: the standard library's form of a proxy, our own, and `Ref` between them.

A stock proxy pickles itself as ``RebuildProxy(class, Token(typeid, address, ident), serializer, {"exposed":
…})`` (``BaseProxy.__reduce__``). What is anything else, by one field, stays an ordinary stub: this server did
not hand out such a proxy, so it is somebody's data.

RULES
* The address in a token is never used: whoever wrote it may have meant another network, or harm.
* The key that a proxy carries while it is sent to a child process is dropped.
* Method names become source code at a stock reader (``MakeProxyType``): what is no identifier makes no `Ref`.
"""

from __future__ import annotations

from typing import Final

from mpshared.symbolic.stubs import Global, How, Named, Own, Ref, Stock, Stub, Verb

__all__ = ["OPEN_REF", "REBUILD_PROXY", "from_open_ref", "from_rebuild_proxy", "proxy_class", "written"]

MANAGERS: Final = "multiprocessing.managers"
REBUILD_PROXY: Final = (MANAGERS, "RebuildProxy")
OPEN_REF: Final = ("mpshared.values", "open_ref")
_TOKEN: Final = Global(MANAGERS, "Token")
_AUTO: Final = Global(MANAGERS, "AutoProxy")

# typeid: our kind, proxy class. The first typeid of a kind is the one written for a reference of our own.
_STOCK: Final[dict[str, tuple[str, str]]] = {
    "Array": ("array", "ArrayProxy"),
    "Barrier": ("barrier", "BarrierProxy"),
    "Condition": ("condition", "ConditionProxy"),
    "dict": ("dict", "DictProxy"),
    "Event": ("event", "EventProxy"),
    "Iterator": ("iterator", "IteratorProxy"),
    "list": ("list", "ListProxy"),
    "Lock": ("lock", "AcquirerProxy"),
    "Namespace": ("namespace", "NamespaceProxy"),
    "Queue": ("queue", "AutoProxy"),
    "JoinableQueue": ("queue", "AutoProxy"),
    "RLock": ("rlock", "AcquirerProxy"),
    "Semaphore": ("semaphore", "AcquirerProxy"),
    "BoundedSemaphore": ("semaphore", "AcquirerProxy"),
    "set": ("set", "AutoProxy"),  # SetProxy is new in 3.14; an AutoProxy works for every reader
    "Value": ("value", "ValueProxy"),
}
_TYPEIDS: Final[dict[str, str]] = {kind: typeid for typeid, (kind, _) in reversed(_STOCK.items())}


def from_open_ref(args: tuple[object, ...]) -> Ref | None:
    """Return the reference that ``open_ref(*args)`` means, or None for a call that is not ours.

    Our client writes ``kind/flavour/details``: what a stock reader is given is the typeid of that name.
    """
    match args:
        case (str(text), str(ident), str()):
            kind, _, rest = text.partition("/")
            flavour = rest.partition("/")[0]
            known = flavour in _STOCK and _STOCK[flavour][0] == kind
            return Ref(kind, ident, typeid=flavour if known else "")
    return None


def from_rebuild_proxy(args: tuple[object, ...]) -> Ref | None:
    """Return the reference that ``RebuildProxy(*args)`` means, or None for a form that no stock proxy has."""
    match args:
        case (Global() as proxy, Stub() as token, "pickle", dict(kwds)):
            pass
        case _:
            return None
    found, exposed = _token(token), _exposed(kwds)
    if found is None or exposed is None:
        return None
    typeid, ident = found
    kind = _STOCK[typeid][0] if typeid in _STOCK else typeid
    return Ref(kind, ident, exposed or None, typeid, proxy)


def written(ref: Ref, face: Own | Stock) -> Named:
    """Return the call that gives the reader of `face` the shared object back."""
    if isinstance(face, Own):
        kind = ref.kind if face.kind_of is None else face.kind_of(ref)
        return Named(*OPEN_REF, (kind, ref.ident, ""))
    typeid = ref.typeid or _TYPEIDS.get(ref.kind, ref.kind)
    proxy = proxy_class(ref)
    exposed = ref.exposed or face.exposed.get(ref.kind) or face.exposed.get(typeid)
    kwds = {"exposed": exposed} if exposed and proxy == _AUTO else {}
    token = Stub(How.NEW, _TOKEN, ())
    token.steps.append((Verb.STATE, (typeid, face.address, ref.ident)))
    return Named(*REBUILD_PROXY, (proxy, token, "pickle", kwds))


def proxy_class(ref: Ref) -> Global:
    """Return the proxy class that a stock reader is given for `ref`."""
    if ref.proxy is not None:
        return ref.proxy
    typeid = ref.typeid or _TYPEIDS.get(ref.kind, ref.kind)
    return Global(MANAGERS, _STOCK[typeid][1]) if typeid in _STOCK else _AUTO


def _token(stub: Stub) -> tuple[str, str] | None:
    """Return typeid and ident of a pickled ``Token``."""
    if stub.how is not How.NEW or stub.callee != _TOKEN or stub.args:
        return None
    match stub.steps:
        case [(Verb.STATE, (str(typeid), _, str(ident)))]:
            return typeid, ident
    return None


def _exposed(kwds: dict[object, object]) -> tuple[str, ...] | None:
    """Return the method names in a proxy's keywords, () when there are none, None when they are not names."""
    names = kwds.get("exposed") or ()
    if set(kwds) - {"exposed", "authkey"} or not isinstance(names, tuple | list):
        return None
    return tuple(names) if all(_is_method(name) for name in names) else None


def _is_method(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier() and len(name) <= 200
