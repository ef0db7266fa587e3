"""Namespace: an object with shared attributes, as `multiprocessing.Manager().Namespace()`.

Attributes belong to the program, so the methods have names that begin with an underscore, as those of a named
tuple. What a program sets under such a name stays with its proxy, and is not shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpclient.objects.base import Proxy
from mpclient.objects.readers import nothing, plain
from mpclient.values.pickling import dumps, loads_all
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpshared.ops import Op
    from mpshared.wire.own.frames import Reply

__all__ = ["CLASSES", "Namespace"]

_GET: Final[Op] = BY_NAME["namespace.get"]
_SET: Final[Op] = BY_NAME["namespace.set"]
_DELETE: Final[Op] = BY_NAME["namespace.delete"]
_ITEMS: Final[Op] = BY_NAME["namespace.items"]
_INCR: Final[Op] = BY_NAME["namespace.incr"]


class Namespace(Proxy):
    """Shared attributes: ``namespace.anything = value`` on one host, read on any other."""

    kind: ClassVar[str] = "namespace"

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # of the proxy itself, and it has none of that name
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")
        return self._call(_GET, attribute, read=self._read_value)

    def __setattr__(self, attribute: str, value: Any) -> None:
        if attribute.startswith("_"):
            object.__setattr__(self, attribute, value)
        else:
            self._call(_SET, attribute, blobs=(dumps(value, self._handle.session),), read=nothing)

    def __delattr__(self, attribute: str) -> None:
        if attribute.startswith("_"):
            object.__delattr__(self, attribute)
        else:
            self._call(_DELETE, attribute, read=nothing)

    def _asdict(self) -> dict[str, Any]:
        """Return a plain dict of the attributes of the moment."""
        return self._call(_ITEMS, read=self._read_items)

    def _getvalue(self) -> Any:
        from multiprocessing.managers import Namespace as PlainNamespace  # noqa: PLC0415 - heavy, and rare

        return PlainNamespace(**self._asdict())

    def _incr(self, attribute: str, n: float = 1) -> Any:
        """Add `n` to a number, a missing one counting as 0; return the sum. One step on the server."""
        return self._call(_INCR, attribute, n, read=plain)

    def _read_items(self, reply: Reply) -> dict[str, Any]:
        return dict(zip(reply.result, loads_all(reply.blobs, self._handle.session), strict=True))

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in sorted(self._asdict().items()))
        return f"Namespace({shown})"


CLASSES: Final[dict[str, type[Proxy]]] = {"Namespace": Namespace}
