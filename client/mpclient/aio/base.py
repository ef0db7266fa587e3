"""What all shared objects of asyncio have in common: calls that are awaited.

RULES
* Methods are those of the synchronous objects, wherever these end in their one call: `awaited` takes such a
  method over, and what the call returns here is a coroutine. Only what makes several calls, or waits in
  between, is written anew.
* Arguments are checked, and values pickled, when the method is called; the call is made when it is awaited.
  What a value lends out (an array's numbers) is copied then: a program may change it before it awaits.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from mpclient.objects.base import REQUIRED, Held, missing
from mpclient.values.pickling import dumps_key, own_buffers
from mpshared.errors import KeyMissing, NoSuchObject

if TYPE_CHECKING:
    from mpclient.aio.session import Session
    from mpshared.ops import Op
    from mpshared.values import Blob
    from mpshared.wire.own.frames import Reply

__all__ = ["AsyncProxy", "Method", "awaited", "shared"]

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C")


class AsyncProxy(Held):
    """One shared object; a call is awaited."""

    __slots__ = ()

    @property
    def _own_session(self) -> Session:
        return cast("Session", self._handle.session)

    def _call(
        self, op: Op, *args: Any, blobs: Sequence[Blob] = (), read: Callable[[Reply], T]
    ) -> Coroutine[Any, Any, T]:
        """Make one call on the object; return what `read` makes of the answer. Cancelled, it is undone."""
        return self._ask(op, args, [*map(own_buffers, blobs)] if blobs else (), read)

    async def _take(self, op: Op, *args: Any, read: Callable[[Reply], T]) -> T:
        """Make a call that takes something; see `_call`."""
        return await self._ask(op, args, (), read)

    async def _finish(self, op: Op, *args: Any, read: Callable[[Reply], T]) -> T:
        """Make a call that gives something up: who is cancelled has given it up all the same."""
        return await self._ask(op, args, (), read, finish=True)

    async def _look_up(
        self,
        op: Op,
        key: Any,
        *args: Any,
        read: Callable[[Reply], T],
        default: Any = REQUIRED,
    ) -> T:
        """Make a call about one key; one that is missing is a KeyError, or `default` where that is given."""
        try:
            return await self._ask(op, (dumps_key(key), *args), (), read)
        except KeyMissing as err:
            return missing(key, err, default)  # type: ignore[no-any-return]

    async def _ask(
        self,
        op: Op,
        args: Sequence[Any],
        blobs: Sequence[Blob],
        read: Callable[[Reply], T],
        *,
        finish: bool = False,
    ) -> T:
        try:
            answer: T = await self._own_session.call(
                op, self._handle.ident, list(args), blobs, read, finish=finish
            )
        except NoSuchObject as err:
            raise self._gone(err) from None
        return answer


class Method(Generic[P, T]):
    """A method as type checkers see it."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, obj: None, owner: type[C]) -> Callable[Concatenate[C, P], T]: ...

        @overload
        def __get__(self, obj: object, owner: type | None = None) -> Callable[P, T]: ...

        def __get__(self, obj: object, owner: type | None = None) -> Any: ...


def awaited(method: Callable[Concatenate[Any, P], T]) -> Method[P, Coroutine[Any, Any, T]]:
    """Take a method over whose last step is the call: here that is awaited."""
    return cast("Any", method)  # type: ignore[no-any-return]


def shared(method: Callable[Concatenate[Any, P], T]) -> Method[P, T]:
    """Take a method over that makes no call."""
    return cast("Any", method)  # type: ignore[no-any-return]
