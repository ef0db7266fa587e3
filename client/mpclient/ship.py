"""Source code that only this program has, brought along to the workers: `cluster.ship`.

RULES
* What is shipped belongs to the session: every pool opened after it, and those open then, have it; and every
  Process started after it, with the source of that moment.
* Files are read when they are shipped, and again by each pool that is opened: a pool never begins with an
  older source than there is on disk. `ship` again tells the pools that are open already.
* Shipping a package ships its Python files, subpackages included.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from mpclient.values.jobs_format import Shipped, dump_source

if TYPE_CHECKING:
    import os

    from mpclient.pooling.functions import Functions
    from mpclient.session import Session

__all__ = ["is_shipping", "ship", "shipped_now", "shipped_to"]


@dataclass(frozen=True, slots=True)
class _Source:
    """One module's file."""

    module: str
    path: Path
    is_package: bool

    def read(self) -> bytes:
        return self.path.read_bytes() if self.path.is_file() else b""


@dataclass(slots=True)
class _Shipment:
    """What one session ships."""

    sources: dict[str, _Source] = field(default_factory=dict)


_shipments: Final[weakref.WeakKeyDictionary[Session, _Shipment]] = weakref.WeakKeyDictionary()


def ship(session: Session, module_or_path: ModuleType | str | os.PathLike[str]) -> list[str]:
    """Have the workers of this program's pools, and its Processes, find a module or package here.

    Args:
        session: This process at the server.
        module_or_path: A module, the name of one that is imported, a Python file, or a package's folder.

    Returns:
        The names of the modules.

    Raises:
        ModuleNotFoundError, FileNotFoundError, ValueError: There is no such thing, or it has no source.
    """
    found = {source.module: source for source in _sources_of(module_or_path)}
    _shipments.setdefault(session, _Shipment()).sources.update(found)
    from mpclient.jobs import open_pools  # noqa: PLC0415 - the import would be circular

    for jobs in open_pools(session):
        jobs.equip_again()
    return sorted(found)


def is_shipping(session: Session) -> bool:
    """Tell whether anything is shipped."""
    return session in _shipments


def shipped_to(functions: Functions, session: Session) -> Iterator[Shipped]:
    """Teach a pool all that is shipped, as it is on disk now; yield what it is taught under."""
    shipment = _shipments.get(session)
    for source in list(shipment.sources.values()) if shipment is not None else ():
        digest = functions.teach(dump_source(source.read(), str(source.path)))
        yield Shipped(source.module, digest, source.is_package)


def shipped_now(session: Session) -> list[tuple[str, bool, bytes, str]]:
    """Return (module, is it a package, source, path) of all that is shipped, as it is on disk now."""
    shipment = _shipments.get(session)
    sources = list(shipment.sources.values()) if shipment is not None else []
    return [(source.module, source.is_package, source.read(), str(source.path)) for source in sources]


def _sources_of(given: ModuleType | str | os.PathLike[str]) -> Iterator[_Source]:
    if isinstance(given, str) and "/" not in given and not given.endswith(".py") and not Path(given).exists():
        if given not in sys.modules:
            raise ModuleNotFoundError(
                f"{given!r} is no module that this program has imported, and no path", name=given
            )
        given = sys.modules[given]
    if isinstance(given, ModuleType):
        yield from _sources_of_module(given)
        return
    path = Path(given).resolve()
    if path.is_dir():
        yield from _package(path.name, path)
    elif path.suffix == ".py" and path.is_file():
        yield _Source(path.stem, path, is_package=False)
    elif path.exists():
        raise ValueError(f"{path} is neither a Python file nor a package's folder")
    else:
        raise FileNotFoundError(f"there is no {path} to ship")


def _sources_of_module(module: ModuleType) -> Iterator[_Source]:
    name = module.__name__
    if name == "__main__":
        raise ValueError("__main__ is not shipped: what a job uses of it travels with the job")
    paths = list(getattr(module, "__path__", ()))
    file = getattr(module, "__file__", None)
    if paths:
        for path in paths:
            yield from _package(name, Path(path))
    elif file is not None and file.endswith(".py"):
        yield _Source(name, Path(file).resolve(), is_package=False)
    else:
        raise ValueError(
            f"the module {name} has no source that could be shipped ({file or 'it is built in'}); install it "
            f"on the workers"
        )
    yield from _parents_of(name)


def _parents_of(name: str) -> Iterator[_Source]:
    """Yield the packages that a module is in: importing it imports them."""
    while "." in name:
        name = name.rpartition(".")[0]
        parent = sys.modules.get(name)
        file = getattr(parent, "__file__", None)
        path = Path(file) if file is not None and file.endswith(".py") else Path(name, "__init__.py")
        yield _Source(name, path, is_package=True)


def _package(name: str, folder: Path) -> Iterator[_Source]:
    yield _Source(name, folder / "__init__.py", is_package=True)
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.stem != "__init__" and path.stem.isidentifier():
            yield _Source(f"{name}.{path.stem}", path, is_package=False)
        elif path.is_dir() and path.name.isidentifier() and any(path.glob("*.py")):
            yield from _package(f"{name}.{path.name}", path)
