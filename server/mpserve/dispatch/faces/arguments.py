"""Arguments of stock calls: what the standard library's own objects accept, of what a request holds as data.

RULES
* What was loaded from a pickle is never hashed, compared or iterated over by anything but plain types: the
  code of other classes is users' code. Containers of the standard library (deque, OrderedDict, array, …) are
  known by what they pickle as.
* A shared object as an argument is read first, by an operation of its own: `with_elements`, `with_pairs`.
* The errors are those of the standard library's objects, and nothing has been changed when they are raised.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeVar

from mpserve.core.t_array import TYPECODES
from mpserve.dispatch.faces.base import Plan, kind_of, look, look_key
from mpshared.errors import NotSupported, TooBig
from mpshared.symbolic import Foreign, Global, How, Ref, Stub, Verb
from mpshared.symbolic.proxies import proxy_class
from mpshared.values import NUMBERS_MOST, VALUES_MOST, Blob

__all__ = [
    "RANGE_MAX",
    "Pairs",
    "as_array",
    "dict_pairs",
    "duration_s",
    "elements_of",
    "few",
    "flag",
    "near",
    "pairs_of",
    "part",
    "type_name",
    "whole",
    "with_all_elements",
    "with_elements",
    "with_pairs",
]

RANGE_MAX: Final = 100_000
"""Elements that a range, or a shared object, may give: ten bytes of a pickle can ask for any number of them,
and a list that is extended by itself doubles with each request."""

_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 64) - 1
"""What our operations, and arrays of the type codes q and Q, take."""

Pairs = list[tuple[Any, Any]]
Many = TypeVar("Many", bound=Collection[Any])

# -- single ones -----------------------------------------------------------------------------------


def type_name(obj: Any) -> str:
    """Return what messages call the type of an argument, which may be one that does not exist here."""
    if isinstance(obj, Ref):
        return proxy_class(obj).qualname
    return obj.name.rpartition(".")[2] if isinstance(obj, Stub) else type(obj).__name__


def flag(value: Any) -> bool:
    """Return whether an argument is true; what users' code would have to say is refused."""
    if isinstance(value, Foreign):
        raise TypeError(f"expected True or False, not {type_name(value)}: pass bool(...) of it")
    return bool(value)


def duration_s(timeout: Any) -> float:
    """Return a timeout as seconds; raise TypeError for what is no number."""
    if not isinstance(timeout, (int, float)):
        raise TypeError(
            f"a timeout is a number of seconds or None, not {type_name(timeout)}: pass float(...) of it"
        )
    return float(timeout)


def whole(value: Any, wrong: str = "{!r} object cannot be interpreted as an integer") -> int:
    """Return a whole number; raise TypeError with the text `wrong`, which takes the type's name, and
    OverflowError for one of more than 64 bits.
    """
    if not isinstance(value, int):
        raise TypeError(wrong.format(type_name(value)))
    if not _LEAST <= value <= _MOST:  # it may have a million digits: nobody is to print it
        raise OverflowError("Python int too large to convert to C ssize_t")
    return int(value)


def part(wanted: slice) -> list[int | None]:
    """Return a slice as it travels in our operations."""
    wrong = "slice indices must be integers or None or have an __index__ method"
    ends = wanted.start, wanted.stop, wanted.step
    return [end if end is None else whole(near(end), wrong) for end in ends]


def near(number: Any) -> Any:
    """Return a number that slices, and what only compares it with lengths, take for the same."""
    return max(_LEAST, min(number, _MOST)) if isinstance(number, int) else number


# -- containers ------------------------------------------------------------------------------------

_ITERABLE: Final = frozenset({list, tuple, set, frozenset, dict, str, bytes, bytearray})


def elements_of(obj: Any, most: int = VALUES_MOST) -> list[Any]:
    """Return the elements of a plain iterable, or of a container of the standard library.

    Raises:
        TypeError: It cannot be iterated over.
        NotSupported: Only users' code knows how.
        TooBig: A range of more than `RANGE_MAX`, or anything of more than `most`.
    """
    if type(obj) in _ITERABLE:
        return list(few(obj, most))
    if type(obj) is range:
        return _counted(obj)
    pairs = _pairs_in(obj)
    found = _elements_in(obj) if pairs is None else [name for name, _ in pairs]
    if found is not None:
        return few(found, most)
    if isinstance(obj, Stub | Global):
        name = type_name(obj)
        raise NotSupported(
            f"iterating over {name!r:.200} would run users' code on the server; pass list(...) of it"
        )
    raise TypeError(f"{type_name(obj)!r} object is not iterable")


def few(elements: Many, most: int = VALUES_MOST) -> Many:
    """Return what a call is to take apart, if it has no more elements than one may have."""
    if len(elements) > most:
        raise TooBig(
            f"{len(elements)} elements in one call, the server takes {most}: send them in smaller parts, or "
            "as one value"
        )
    return elements


def _counted(numbers: range) -> list[int]:
    try:
        return list(numbers) if len(numbers) <= RANGE_MAX else _too_many(numbers)
    except OverflowError:
        return _too_many(numbers)


def _too_many(numbers: range) -> list[int]:
    raise TooBig(f"{numbers} has more than {RANGE_MAX} elements: pass list(...) of it, or less at a time")


def _elements_in(obj: Any) -> list[Any] | None:
    """Return the elements of a container that the standard library pickles as a call, or None for others."""
    numbers = as_array(obj)
    if numbers is not None:
        return few(numbers, NUMBERS_MOST).tolist()
    match obj:
        case Stub(how=How.CALL, callee=Global("builtins", "list" | "tuple"), args=(list(elements),)):
            return elements
        case Stub(how=How.CALL, callee=Global("collections", "deque"), args=() | ((),) | ((), _)):
            return [e for verb, content in obj.steps if verb is Verb.APPEND for e in _listed(content)]
    return None


def dict_pairs(obj: Any) -> Pairs | None:
    """Return the pairs of a dict, or of a frozendict of Python 3.15, or None for others."""
    match obj:
        case Stub(how=How.NEW, callee=Global("builtins", "frozendict"), args=(dict(pairs),)):
            return list(pairs.items())
    return list(obj.items()) if type(obj) is dict else None


def _pairs_in(obj: Any) -> Pairs | None:
    """Return the pairs of a mapping that the standard library pickles as a call, or None for others."""
    match obj:
        case Stub(how=How.NEW):
            return dict_pairs(obj)
        case Stub(how=How.CALL, callee=Global("collections", "Counter"), args=(dict(pairs),)):
            return list(pairs.items())
        case Stub(how=How.CALL, callee=Global("collections", "OrderedDict" | "defaultdict")):
            return [p for verb, content in obj.steps if verb is Verb.STORE for p in _listed(content)]
    return None


def _listed(content: object) -> list[Any]:
    return content if isinstance(content, list) else []


def as_array(obj: Any) -> array.array[Any] | None:
    """Return the array of numbers that a stub describes, or None when it is something else.

    Raises:
        TypeError, ValueError, OverflowError: It says it is one, and is broken.
    """
    match obj:
        case Stub(
            callee=Global("array", "_array_reconstructor"),
            args=(Global("array", "array"), str(typecode), int(form), bytes(content)),
        ) if typecode in TYPECODES:
            return array._array_reconstructor(array.array, typecode, form, content)  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001 - the only way to read it
        case Stub(callee=Global("array", "array"), args=(str(typecode), (list() | bytes()) as content)) if (
            typecode in TYPECODES
        ):
            return array.array(typecode, content)  # managers send bytes, as they lie in memory
    return None


def pairs_of(other: Any) -> Pairs:
    """Return the pairs of what `dict(other)` accepts; raise what it raises."""
    if type(other) is dict:
        return list(few(other.items()))
    pairs = _pairs_in(other)
    if pairs is not None:
        return few(pairs)
    return [_pair(number, element) for number, element in enumerate(elements_of(other))]


def _pair(number: int, element: Any) -> tuple[Any, Any]:
    try:
        parts = elements_of(element)
    except NotSupported:
        raise
    except TypeError:
        raise TypeError(
            f"cannot convert dictionary update sequence element #{number} to a sequence"
        ) from None
    if len(parts) != 2:
        raise ValueError(
            f"dictionary update sequence element #{number} has length {len(parts)}; 2 is required"
        )
    return parts[0], parts[1]


# -- shared ones -----------------------------------------------------------------------------------


def _names(result: Any, _out: Sequence[Blob]) -> list[Any]:
    return [look_key(name) for name in result]


# kind: the operation that reads its elements, its arguments, and what makes them of its answer
_READING: Final[dict[str, tuple[str, list[Any], Callable[[Any, Sequence[Blob]], list[Any]]]]] = {
    "array": ("array.get_slice", [[None, None, None]], lambda numbers, _: numbers),
    "dict": ("dict.keys", [], _names),
    "list": ("list.snapshot", [], lambda _, out: [look(blob) for blob in out]),
    "set": ("set.members", [], _names),
}


def with_elements(obj: Any, go_on: Callable[[list[Any]], Any], most: int = VALUES_MOST) -> Any:
    """Go on with the elements of `obj`; those of a shared object are read first."""
    if not isinstance(obj, Ref):
        return go_on(elements_of(obj, most))
    kind = kind_of(obj)
    if kind not in _READING:
        raise TypeError(f"{type_name(obj)!r} object is not iterable")
    operation, args, made_of = _READING[kind]

    def read(result: Any, out: Sequence[Blob]) -> Any:
        _check_few(len(out) if kind == "list" else len(result), kind)
        return go_on(made_of(result, out))

    return Plan(operation, list(args), [], read, obj.ident)


def _check_few(count: int, kind: str) -> None:
    if count > RANGE_MAX:
        raise TooBig(
            f"the shared {kind} has {count} elements, more than {RANGE_MAX}: pass less of them at a time"
        )


def with_all_elements(
    objects: Sequence[Any], go_on: Callable[[list[list[Any]]], Any], *, found: Sequence[list[Any]] = ()
) -> Any:
    """Go on with the elements of each of several objects."""
    if not objects:
        return go_on(list(found))
    first, rest = objects[0], objects[1:]

    def with_these(elements: list[Any]) -> Any:
        if sum(map(len, found)) + len(elements) > VALUES_MOST:
            raise TooBig(f"more than {VALUES_MOST} elements in one call: pass less of them at a time")
        return with_all_elements(rest, go_on, found=[*found, elements])

    return with_elements(first, with_these)


def with_pairs(other: Any, go_on: Callable[[Pairs], Any]) -> Any:
    """Go on with the pairs of `other`; those of a shared dict are read first."""
    if not isinstance(other, Ref):
        return go_on(pairs_of(other))
    if kind_of(other) != "dict":
        return with_elements(other, lambda elements: go_on(pairs_of(elements)))

    def read(names: Any, out: Sequence[Blob]) -> Any:
        _check_few(len(names), "dict")
        return go_on([(look_key(name), look(blob)) for name, blob in zip(names, out, strict=True)])

    return Plan("dict.items", [], [], read, other.ident)
