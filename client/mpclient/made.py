"""Classes with the standard library's names, which programs may call and derive from: `Queue(5, ctx=ctx)`.

RULES
* A call has the context's function of that name make a shared object; the new one takes that one's place.
* A derived class is kept on the way elsewhere, with what its `__getstate__` returns and its `__setstate__` is
  given: the attributes that it has added. The shared object comes along anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Self

from mpclient.objects.base import Proxy
from mpclient.offers import Offers
from mpclient.transport.references import Handle
from mpclient.transport.term import SessionBase
from mpshared.errors import NotSupported

__all__ = ["Made", "open_derived"]


class Made(Proxy):
    """Something that a context has a function for.

    Args:
        args: As that function has them; or a handle, and what its kind has.
        ctx: The context, or cluster; None: the module's own.
        more: As `args`.
    """

    __slots__ = ()

    offered: ClassVar[bool] = False
    """Whether contexts have a function of this name."""

    def __init__(self, *args: Any, ctx: Any = None, **more: Any) -> None:
        if args and isinstance(args[0], Handle):
            super().__init__(*args, **more)
        else:
            self._take_place(_make(type(self), ctx)(*args, **more))

    def _take_place(self, other: Proxy) -> Self:
        for slot in _slots_of(type(other)):
            setattr(self, slot, getattr(other, slot))
        return self

    def __getstate__(self) -> Any:
        """Return the attributes that a derived class has given it."""
        return getattr(self, "__dict__", None)

    def __setstate__(self, state: Any) -> None:
        """Set the attributes that a derived class has given it."""
        if state:
            vars(self).update(state)

    def _mention(self, session: SessionBase) -> tuple[tuple[Any, ...], tuple[str, ...]] | None:
        found = super()._mention(session)
        return None if found is None else (self._as_derived(found[0]), found[1])

    def __reduce__(self) -> tuple[Any, ...]:
        return self._as_derived(super().__reduce__())

    def _as_derived(self, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
        """Have the copy elsewhere be of this class, if it is a derived one."""
        if "flavour" in vars(type(self)):
            return reduced
        return open_derived, (type(self), *reduced), self.__getstate__()


def open_derived(kind: type[Made], open_plain: Callable[..., Proxy], args: tuple[Any, ...]) -> Made:
    """Return a copy of a class that a program derived, for the object that `open_plain` opens."""
    return kind.__new__(kind)._take_place(open_plain(*args))  # noqa: SLF001 - its own


def _slots_of(kind: type) -> Iterator[str]:
    for one in kind.__mro__:
        yield from (slot for slot in vars(one).get("__slots__", ()) if slot != "__weakref__")


def _make(kind: type[Made], ctx: Any) -> Callable[..., Proxy]:
    """Return what makes the plain object that one of `kind` is to stand for."""
    name = next(one.__name__ for one in kind.__mro__ if "flavour" in vars(one))
    if not kind.offered:
        raise NotSupported(
            f"the class {name} cannot be called: what it stands for lives on the server; a Manager makes it"
        )
    if ctx is None:
        from mpclient.context import default_context  # noqa: PLC0415 - it imports this module's kinds

        ctx = default_context
    if not isinstance(ctx, Offers):
        raise TypeError(f"ctx must be a context or a cluster of mpclient's, not {ctx!r:.80}")
    return getattr(ctx, name)  # type: ignore[no-any-return]
