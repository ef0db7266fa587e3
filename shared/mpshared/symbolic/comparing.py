"""Equality, keys and order of what was read, by structure: nobody's ``__eq__`` or ``__hash__`` runs.

Equality is *structural*: two objects are equal when their pickles make them in the same way from equal parts.
This is what Python says of plain values (``1 == 1.0 == True``), dataclasses, enums, named tuples, dates,
paths, arrays. It is stricter than Python where a class sees through its own form: ``Decimal("1") ==
Decimal("1.0")`` holds in Python and not here, nor does ``Level.LOW == 1`` for an IntEnum, nor are two sets of
a class of one's own equal whose members were pickled in another order. And it is wider where a class compares
by identity: two ``object()`` look alike.

Not a number: as in Python, a NaN equals only itself, so it is found where the bytes are the same, and not
otherwise.

RULES
* Linear: two containers that were found to be the same, or assumed to be on the way, are never compared again
  (union-find, as for the equivalence of automata). So cycles end, and sharing costs nothing.
* A dict key or set member is found by its canonical form, `key`, whose size is limited. Two in one container
  that look alike (two `object()`) make it equal to no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable
from itertools import chain
from typing import Any, Final, TypeAlias

from mpshared.symbolic.limits import DEFAULT, ForeignOrder, Limits, PickleTooComplex
from mpshared.symbolic.plain import is_short_plain
from mpshared.symbolic.reading import load
from mpshared.symbolic.stubs import Foreign, Global, How, Opaque, Ref, Step, Stub, Verb

__all__ = ["ForeignKey", "equal", "key", "matcher", "plain_order"]

Pairs: TypeAlias = list[tuple[object, object]]

_HASHED_AS_THEY_ARE: Final = frozenset(
    {int, float, complex, str, bytes, bool, range, type(None), type(...), type(NotImplemented), Global, Ref}
)
"""Immutable, and hashed and compared by Python as it should be."""
_LEAVES: Final = _HASHED_AS_THEY_ARE | {bytearray, slice}
_DEFAULTDICT: Final = Global("collections", "defaultdict")


def matcher(data: bytes, *, limits: Limits = DEFAULT) -> Callable[[bytes], bool]:
    """Return a function that tells whether another pickle is of an object equal to that of `data`.

    For searching a list: `data` is read once, and only when bytes differ. The function raises what `load` and
    `equal` raise.

    Cost: nothing for the same bytes, else that of loading the other one and of a walk through both.
    """
    loaded: list[object] = []
    short = is_short_plain(data)

    def matches(other: bytes) -> bool:
        if other == data:
            return True
        if not loaded:
            loaded.append(load(data, limits=limits))
        found = load(other, limits=limits)
        if short and is_short_plain(other):
            try:
                return bool(loaded[0] == found)
            except RecursionError:
                pass  # deep or cyclic: walked below
        return _Comparison(limits, limits.steps_per_byte * (len(data) + len(other))).equal(loaded[0], found)

    return matches


def equal(a: object, b: object, *, limits: Limits = DEFAULT, steps: int = 10_000_000) -> bool:
    """Tell whether two loaded objects are equal by structure.

    Raises:
        PickleTooComplex: After `steps` comparisons, or for a dict key beyond `limits`.

    Cost: some 0.5 µs a value that is looked at, until the first difference.
    """
    return _Comparison(limits, steps).equal(a, b)


class _Comparison:
    """One question, "are these equal", and what has been assumed on the way to its answer."""

    __slots__ = ("_limits", "_opened", "_parents", "_steps", "_todo")

    def __init__(self, limits: Limits, steps: int) -> None:
        self._limits = limits
        self._steps = steps
        self._parents: dict[int, int] = {}
        """Union-find over ids: containers assumed equal have the same root."""
        self._todo: Pairs = []
        self._opened: dict[Opaque, object] = {}

    def equal(self, a: object, b: object) -> bool:
        self._todo.append((a, b))
        while self._todo:
            a, b = self._todo.pop()
            if a is b:
                continue
            self._steps -= 1
            if self._steps < 0:
                raise PickleTooComplex(
                    "comparing two values takes more steps than their size explains: not compared"
                )
            if type(a) is Opaque or type(b) is Opaque:
                if a != b:
                    self._todo.append((self._open(a), self._open(b)))
            elif not self._alike(a, b):
                return False
        return True

    def _alike(self, a: Any, b: Any) -> bool:
        """Compare two values by themselves, and put what is in them on the list."""
        kind = type(a)
        if kind in _LEAVES:
            return type(b) in _LEAVES and bool(a == b)
        compare = _COMPARE.get((kind, type(b)))
        if compare is None:
            return False
        return self._joined(a, b) or compare(self, a, b)

    def _joined(self, a: object, b: object) -> bool:
        """Tell whether two containers are assumed equal already; from now on they are."""
        one, other = self._root(id(a)), self._root(id(b))
        if one == other:
            return True
        self._parents[one] = other
        return False

    def _open(self, obj: object) -> object:
        """Return what is in an opaque value, each opened once, and any other value as it is."""
        if type(obj) is not Opaque:
            return obj
        if obj not in self._opened:
            self._steps -= len(obj.data) >> 4  # about what opening costs
            self._opened[obj] = load(obj.data, buffers=obj.buffers, limits=self._limits)
        return self._opened[obj]

    def _root(self, number: int) -> int:
        parents = self._parents
        while (parent := parents.get(number, number)) != number:
            parents[number] = number = parents.get(parent, parent)
        return number

    def sequences(self, a: list[object], b: list[object]) -> bool:
        if len(a) != len(b):
            return False
        self._todo.extend(zip(reversed(a), reversed(b), strict=True))
        return True

    def dicts(self, a: dict[object, object], b: dict[object, object]) -> bool:
        return len(a) == len(b) and self._mappings(list(a.items()), list(b.items()))

    def _mappings(self, a: Pairs, b: Pairs) -> bool:
        """Compare without order; keys that look alike within one mapping cannot be matched."""
        ours = dict(zip(self._keys([name for name, _ in a]), (value for _, value in a), strict=True))
        theirs = dict(zip(self._keys([name for name, _ in b]), (value for _, value in b), strict=True))
        if len(ours) < len(a) or ours.keys() != theirs.keys():
            return False
        self._todo.extend((value, theirs[name]) for name, value in ours.items())
        return True

    def sets(self, a: set[object], b: set[object]) -> bool:
        if len(a) != len(b):
            return False
        ours = set(self._keys(a))
        return len(ours) == len(a) and ours == set(self._keys(b))

    def _keys(self, objects: Collection[object]) -> list[Hashable]:
        """Return the canonical form of each; what is made to have the same hash is refused, as in loading."""
        found = [obj if type(obj) in _HASHED_AS_THEY_ARE else self._key(obj) for obj in objects]
        most = self._limits.collisions
        if len(found) > most and max(Counter(map(hash, found)).values()) > most:
            raise PickleTooComplex(
                f"more than {most} keys or members of a value to compare have the same hash: not compared"
            )
        return found

    def _key(self, obj: object) -> Hashable:
        keyed = _Keying(self._limits)
        found = keyed.key(obj, inside=True)
        self._steps -= keyed.nodes
        return found

    def stubs(self, a: Stub, b: Stub) -> bool:
        if a.how is not b.how or len(a.steps) != len(b.steps):
            return False
        self._todo.extend([(a.callee, b.callee), (a.args, b.args), (a.kwargs, b.kwargs)])
        return all(
            self._steps_alike(one, other, _is_unordered(a))
            for one, other in zip(a.steps, b.steps, strict=True)
        )

    def _steps_alike(self, one: Step, other: Step, unordered: bool) -> bool:
        (verb, ours), (other_verb, theirs) = one, other
        if verb is not other_verb:
            return False
        if verb is Verb.STORE and unordered:
            return len(ours) == len(theirs) and self._mappings(ours, theirs)  # type: ignore[arg-type]
        self._todo.append((ours, theirs))
        return True


def _is_unordered(stub: Stub) -> bool:
    """Tell whether a mapping compares without order: subclasses of dict do, OrderedDict does not."""
    return stub.how is not How.CALL or stub.callee == _DEFAULTDICT


_COMPARE: Final[dict[tuple[type, type], Callable[[_Comparison, Any, Any], bool]]] = {
    (list, list): _Comparison.sequences,
    (tuple, tuple): _Comparison.sequences,
    (dict, dict): _Comparison.dicts,
    (Stub, Stub): _Comparison.stubs,
    **{(a, b): _Comparison.sets for a in (set, frozenset) for b in (set, frozenset)},
}


# -- keys -----------------------------------------------------------------------------------------


class ForeignKey:
    """An object of a user's class, or what is inside one, as a dict key: equal by structure."""

    __slots__ = ("_form", "_hash")

    def __init__(self, form: tuple[Hashable, ...]) -> None:
        self._form = form
        self._hash = hash(form)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ForeignKey) and self._hash == other._hash and self._form == other._form

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"<ForeignKey {self._hash:#x}>"


def key(obj: object, *, limits: Limits = DEFAULT) -> Hashable:
    """Return what stands for a loaded object as a dict key or set member.

    A plain scalar, and a tuple or frozenset of such, is itself. An object of a user's class is known by its
    structure, whatever its own ``__hash__`` says: the server cannot know that it has none.

    Raises:
        TypeError: A list, dict, set, bytearray or slice, in Python's words: "unhashable type: 'list'".
        PickleTooComplex: Larger or deeper than `limits` allow.
    """
    if type(obj) in _HASHED_AS_THEY_ARE:
        return obj
    return _Keying(limits).key(obj)


class _Keying:
    """One key being made; counts what it is made of."""

    __slots__ = ("_limits", "nodes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.nodes = 0

    def key(self, obj: object, depth: int = 0, *, inside: bool = False) -> Hashable:
        """Return the form of `obj`; `inside` a user's object also of what cannot be hashed."""
        self.nodes += 1 + (obj.bit_length() >> 6 if type(obj) is int else 0)
        if depth > self._limits.key_depth or self.nodes > self._limits.key_nodes:
            raise PickleTooComplex(
                f"a key is nested deeper than {self._limits.key_depth} or larger than "
                f"{self._limits.key_nodes} values, and hashing it would hold up everybody: use a smaller "
                "key, e.g. a string"
            )
        kind = type(obj)
        if kind in _HASHED_AS_THEY_ARE:
            return obj
        form = _FORMS.get(kind)
        if form is None or (not inside and kind not in _HASHABLE):
            raise TypeError(f"unhashable type: {kind.__name__!r}")
        return form(self, obj, depth + 1, inside)

    def of_tuple(self, obj: tuple[object, ...], depth: int, inside: bool) -> Hashable:
        return tuple(self.key(item, depth, inside=inside) for item in obj)

    def of_frozenset(self, obj: frozenset[object], depth: int, inside: bool) -> Hashable:
        return frozenset(self.key(item, depth, inside=inside) for item in obj)

    def of_opaque(self, obj: Opaque, depth: int, inside: bool) -> Hashable:
        self.nodes += len(obj.data) >> 4  # about what opening costs
        return self.key(load(obj.data, buffers=obj.buffers, limits=self._limits), depth, inside=inside)

    def of_stub(self, obj: Stub, depth: int, _inside: bool) -> Hashable:
        parts: list[Hashable] = [obj.how]
        parts += [self.key(part, depth, inside=True) for part in (obj.callee, obj.args, obj.kwargs)]
        for verb, content in obj.steps:
            if verb is Verb.STORE and _is_unordered(obj):
                parts += [verb, self._pairs(content, depth)]  # type: ignore[arg-type]
            else:
                parts += [verb, self.key(content, depth, inside=True)]
        return ForeignKey(tuple(parts))

    def of_list(self, obj: list[object], depth: int, _inside: bool) -> Hashable:
        return ForeignKey((list, *(self.key(item, depth, inside=True) for item in obj)))

    def of_dict(self, obj: dict[object, object], depth: int, _inside: bool) -> Hashable:
        return ForeignKey((dict, self._pairs(obj.items(), depth)))

    def _pairs(self, pairs: Iterable[tuple[object, object]], depth: int) -> Hashable:
        return frozenset(
            (self.key(name, depth, inside=True), self.key(value, depth, inside=True)) for name, value in pairs
        )

    def of_bytes(self, obj: bytearray, _depth: int, _inside: bool) -> Hashable:
        return bytes(obj)

    def of_slice(self, obj: slice, _depth: int, _inside: bool) -> Hashable:
        return ForeignKey((slice, obj.start, obj.stop, obj.step))


_FORMS: Final[dict[type, Callable[[_Keying, Any, int, bool], Hashable]]] = {
    tuple: _Keying.of_tuple,
    frozenset: _Keying.of_frozenset,
    Opaque: _Keying.of_opaque,
    Stub: _Keying.of_stub,
    list: _Keying.of_list,
    dict: _Keying.of_dict,
    set: _Keying.of_frozenset,
    bytearray: _Keying.of_bytes,
    slice: _Keying.of_slice,
}
_HASHABLE: Final = frozenset({tuple, frozenset, Opaque, Stub})


# -- order ----------------------------------------------------------------------------------------

_HOLDS: Final = frozenset({list, tuple, set, frozenset, dict})
_ORDER_NODES: Final = 100_000


def plain_order(obj: object) -> object:
    """Return `obj` when Python may order it with ``<`` here: it is made of plain values only.

    What Python itself cannot order (``None < None``, ``1 < "a"``) still raises its own TypeError, at the
    comparison.

    Raises:
        ForeignOrder: There is an object of a user's class in it.
        PickleTooComplex: It is too large, or cyclic: a comparison would not end.
    """
    level, nodes = [obj], 0
    for _ in range(DEFAULT.key_depth):
        if any(isinstance(item, Foreign) for item in level):
            raise ForeignOrder(
                "only numbers, text, bytes, and tuples and lists of them can be ordered on the server: "
                "the order of other objects is users' code, which it does not run; sort a copy in your "
                "program, e.g. sorted(list(shared))"
            )
        inner: list[Any] = [item for item in level if type(item) in _HOLDS]
        nodes += len(level)
        if nodes + 2 * sum(map(len, inner)) > _ORDER_NODES:
            break
        if not inner:
            return obj
        level = [part for item in inner for part in (chain(*item.items()) if type(item) is dict else item)]
    raise PickleTooComplex(
        f"a value to order is nested deeper than {DEFAULT.key_depth}, or larger than {_ORDER_NODES} values: "
        "sort a copy in your program, e.g. sorted(list(shared))"
    )
