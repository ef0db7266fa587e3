"""Where the names of the two sides are."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tests.conformance.harness import Side

if TYPE_CHECKING:
    from mpclient.cluster import Cluster

__all__ = ["MODULES", "our_side", "their_side"]

MODULES = (
    *("", "connection", "context", "managers", "pool", "process", "queues", "shared_memory", "sharedctypes"),
    "synchronize",
)


def their_side(manager: Any) -> Side:
    modules = _modules("multiprocessing")
    return Side("standard library", modules[""].get_context("spawn"), modules, manager)


def our_side(cluster: Cluster) -> Side:
    return Side("mpserve", cluster.get_context("spawn"), _modules("mpclient"), cluster.Manager())


def _modules(package: str) -> dict[str, Any]:
    return {name: import_module(f"{package}.{name}".rstrip(".")) for name in MODULES}
