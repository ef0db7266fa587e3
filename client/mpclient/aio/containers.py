"""Dicts, lists, sets and namespaces, awaited.

What operators do to the synchronous ones has a name here: ``await d.set(key, value)``, ``d.delete(key)``,
``d.contains(key)``, ``d.len()``. Reading keeps its brackets: ``await d[key]``. ``async for`` goes through a
copy of the moment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

from mpclient.aio.base import AsyncProxy, awaited, shared
from mpclient.objects import t_dict, t_list, t_namespace, t_set
from mpclient.objects.base import in_parts
from mpclient.objects.readers import nothing, plain
from mpclient.objects.t_dict import MISSING
from mpshared.errors import Conflict, NotSupported
from mpshared.ops import BY_NAME

__all__ = ["MISSING", "Dict", "List", "Namespace", "Set"]

_SORT: Final = BY_NAME["list.sort"]
_SNAPSHOT: Final = BY_NAME["list.snapshot"]
_REPLACE: Final = BY_NAME["list.replace"]
_GET: Final = BY_NAME["namespace.get"]
_SET: Final = BY_NAME["namespace.set"]
_DELETE: Final = BY_NAME["namespace.delete"]


class Dict(AsyncProxy):
    """A shared dict, in the order of insertion."""

    __slots__ = ()

    kind: ClassVar[str] = "dict"

    _read_item = shared(t_dict.Dict._read_item)
    _read_items = shared(t_dict.Dict._read_items)
    _read_dict = shared(t_dict.Dict._read_dict)

    __getitem__ = awaited(t_dict.Dict.__getitem__)
    get = awaited(t_dict.Dict.get)
    set = awaited(t_dict.Dict.__setitem__)
    delete = awaited(t_dict.Dict.__delitem__)
    contains = awaited(t_dict.Dict.__contains__)
    pop = awaited(t_dict.Dict.pop)
    popitem = awaited(t_dict.Dict.popitem)
    setdefault = awaited(t_dict.Dict.setdefault)
    incr = awaited(t_dict.Dict.incr)
    cas = awaited(t_dict.Dict.cas)
    len = awaited(t_dict.Dict.__len__)
    keys = awaited(t_dict.Dict.keys)
    values = awaited(t_dict.Dict.values)
    items = awaited(t_dict.Dict.items)
    copy = awaited(t_dict.Dict.copy)
    _updates = shared(t_dict.Dict._updates)
    _update = awaited(t_dict.Dict._update)
    clear = awaited(t_dict.Dict.clear)

    async def update(self, other: Mapping[Any, Any] | Iterable[Any] = (), /, **others: Any) -> None:
        """Set many keys, in one step up to 65,536; more in several, between which others may come."""
        for keys, blobs in self._updates(other, **others):
            await self._update(keys, blobs)

    async def __aiter__(self) -> AsyncIterator[Any]:
        for key in await self.keys():
            yield key


class List(AsyncProxy):
    """A shared list."""

    __slots__ = ()

    kind: ClassVar[str] = "list"

    _read_snapshot = shared(t_list.List._read_snapshot)

    __getitem__ = awaited(t_list.List.__getitem__)
    set = awaited(t_list.List.__setitem__)
    delete = awaited(t_list.List.__delitem__)
    append = awaited(t_list.List.append)
    extend_blobs = awaited(t_list.List.extend_blobs)
    insert = awaited(t_list.List.insert)
    pop = awaited(t_list.List.pop)
    remove = awaited(t_list.List.remove)
    incr = awaited(t_list.List.incr)
    cas = awaited(t_list.List.cas)
    len = awaited(t_list.List.__len__)
    contains = awaited(t_list.List.__contains__)
    index = awaited(t_list.List.index)
    count = awaited(t_list.List.count)
    copy = awaited(t_list.List.copy)
    reverse = awaited(t_list.List.reverse)
    clear = awaited(t_list.List.clear)

    async def extend(self, values: Iterable[Any]) -> None:
        """Add items at the end, in one step up to 65,536; more in several, between which others may come."""
        for part in in_parts(self._blobs(values)):
            await self.extend_blobs(part)

    async def __aiter__(self) -> AsyncIterator[Any]:
        for item in await self.copy():
            yield item

    async def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Sort in place, stably; see `mpclient.objects.t_list.List.sort`."""
        if key is None:
            try:
                await self._call(_SORT, bool(reverse), read=nothing)
            except NotSupported:
                await self._sort_here(None, reverse)
        else:
            await self._sort_here(key, reverse)

    async def _sort_here(self, key: Callable[[Any], Any] | None, reverse: bool) -> None:
        for _ in range(t_list.SORT_TRIES):
            version, blobs, items = await self._call(_SNAPSHOT, read=self._read_snapshot)
            order = t_list.sorted_order(items, key, reverse)
            if await self._call(_REPLACE, version, blobs=[blobs[i] for i in order], read=plain):
                return
        raise Conflict(t_list.SORT_CONFLICT.format(self._label))


class Set(AsyncProxy):
    """A shared set."""

    __slots__ = ()

    kind: ClassVar[str] = "set"

    add = awaited(t_set.Set.add)
    discard = awaited(t_set.Set.discard)
    remove = awaited(t_set.Set.remove)
    pop = awaited(t_set.Set.pop)
    contains = awaited(t_set.Set.__contains__)
    len = awaited(t_set.Set.__len__)
    copy = awaited(t_set.Set.copy)
    clear = awaited(t_set.Set.clear)
    _update = awaited(t_set.Set._update)
    difference_update = awaited(t_set.Set.difference_update)
    symmetric_difference_update = awaited(t_set.Set.symmetric_difference_update)

    async def update(self, *others: Iterable[Any]) -> None:
        """Add the members of `others`, in one step up to 65,536; more in several."""
        for part in in_parts(t_set.keys_of(*others)):
            await self._update(part)

    async def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep only what is in all `others`."""
        if others:
            await self._keep(*others)

    _keep = awaited(t_set.Set._keep)

    async def __aiter__(self) -> AsyncIterator[Any]:
        for member in await self.copy():
            yield member


class Namespace(AsyncProxy):
    """Named values, which the synchronous one has as its attributes."""

    __slots__ = ()

    kind: ClassVar[str] = "namespace"

    _read_items = shared(t_namespace.Namespace._read_items)

    incr = awaited(t_namespace.Namespace._incr)
    asdict = awaited(t_namespace.Namespace._asdict)

    async def get(self, name: str) -> Any:
        """Return the value of an attribute.

        Raises:
            AttributeError: There is none of that name.
        """
        return await self._call(_GET, name, read=self._read_value)

    async def set(self, name: str, value: Any) -> None:
        """Give an attribute a value."""
        await self._call(_SET, name, blobs=(self._blob(value),), read=nothing)

    async def delete(self, name: str) -> None:
        """Remove an attribute."""
        await self._call(_DELETE, name, read=nothing)
