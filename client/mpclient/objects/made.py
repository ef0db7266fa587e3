"""Classes with the standard library's names are not called by programs: functions make their objects."""

from __future__ import annotations

from typing import Any, NoReturn

from mpclient.objects.base import Proxy
from mpclient.references import Handle
from mpshared.errors import NotSupported

__all__ = ["Made"]


class Made(Proxy):
    """Something that says so when a program calls its class, as `multiprocessing` allows with a context."""

    __slots__ = ()

    def __init__(self, handle: Handle | None = None, *args: Any, **more: Any) -> None:
        if not isinstance(handle, Handle):
            _refuse(type(self).__name__)
        super().__init__(handle, *args, **more)


def _refuse(name: str) -> NoReturn:
    raise NotSupported(
        f"the class {name} cannot be called, nor a class derived from it: what it stands for lives on the "
        f"server. Make one with mpclient.{name}() or a context's {name}(), and hold it as an attribute"
    )
