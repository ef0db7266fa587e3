"""The standard library's tests of asyncio's locks and queues, with `mpclient.aio`.

RULES
* There most methods are plain calls, here all of them are awaited. So the source of the tests is read from
  the Python that runs them and changed on its way, by one table: what is called or looked at is awaited.
* ``asyncio.sleep(0)`` there lets every other task go as far as it can. Here that takes round trips: so many
  that whatever the other tasks have begun has been answered. Nothing waits for a time to pass.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import queue
import unittest
from collections.abc import Iterator
from pathlib import Path
from threading import BrokenBarrierError
from types import SimpleNamespace
from typing import Any, Final

import mpclient
from mpclient import aio
from mpshared.ops import BY_NAME

__all__ = ["classes_of"]

_CALLED: Final = frozenset(
    {
        "release",
        "locked",
        "set",
        "clear",
        "is_set",
        "notify",
        "notify_all",
        "put_nowait",
        "get_nowait",
        "qsize",
    }
    | {"empty", "full", "task_done", "shutdown", "q_class", "Lock", "Event", "Condition", "Semaphore"}
    | {"BoundedSemaphore", "Barrier", "Queue", "LifoQueue", "PriorityQueue"}
)
"""Calls that are awaited here."""
_SEEN: Final = frozenset({"_value", "_waiters", "_getters", "_putters", "parties", "n_waiting", "broken"})
"""Attributes that are asked for here."""
_ROUNDS: Final = 6
_STEPS: Final = 6

_DESCRIBE: Final = BY_NAME["cluster.describe"]


class _Awaits(ast.NodeTransformer):
    """Changes a test into one that awaits."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Make a test that was none a coroutine; other functions stay as they are."""
        if not node.name.startswith("test"):
            return node
        inside = self.generic_visit(node)
        return ast.copy_location(ast.AsyncFunctionDef(**dict(ast.iter_fields(inside))), node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = node.func
        if not isinstance(called, ast.Attribute):
            return node
        if called.attr == "assertRaises" and len(node.args) > 1:
            called.attr = "raises_awaited"
            return ast.Await(node)
        return ast.Await(node) if called.attr in _CALLED else node

    def visit_Await(self, node: ast.Await) -> ast.AST:
        self.generic_visit(node)
        return node.value if isinstance(node.value, ast.Await) else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr not in _SEEN or not isinstance(node.ctx, ast.Load):
            return node
        looked = ast.Attribute(ast.Name("self", ast.Load()), "look_at", ast.Load())
        return ast.Await(ast.Call(looked, [node.value, ast.Constant(node.attr)], []))


class _Connected(unittest.IsolatedAsyncioTestCase):
    """A test that has a connection of its own."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.cluster = await self.enterAsyncContext(aio.connect())
        names = {name: getattr(self.cluster, name) for name in _CALLED if hasattr(self.cluster, name)}
        vars(_ASYNCIO).update(names, sleep=self.sleep)
        self.marker = await self.cluster.Event()
        if hasattr(self, "q_class"):
            self.q_class = getattr(self.cluster, type(self).__name__.partition("Queue")[0] + "Queue")

    async def sleep(self, delay_s: float) -> None:
        """Sleep; for 0 seconds until everything that was begun has been answered."""
        if delay_s:
            await asyncio.sleep(delay_s)
            return
        for _ in range(_ROUNDS):
            await self.marker.is_set()
            for _ in range(_STEPS):
                await asyncio.sleep(0)

    async def raises_awaited(self, kind: Any, called: Any, *args: Any, **more: Any) -> None:
        with self.assertRaises(kind):
            await called(*args, **more)

    async def look_at(self, thing: Any, name: str) -> Any:
        """Return what an attribute of asyncio's own would be."""
        if name == "_value":
            return await thing.get_value()
        if name in {"parties", "n_waiting", "broken"}:
            return (await thing.status())[("parties", "n_waiting", "broken").index(name)]
        found = mpclient.connect().session.call(_DESCRIBE, "", [thing._handle.ident]).result or {}
        return [None] * int(found.get(name.removeprefix("_"), 0))


_ASYNCIO: Final = SimpleNamespace(
    **{
        **vars(asyncio),
        "QueueEmpty": queue.Empty,
        "QueueFull": queue.Full,
        "QueueShutDown": mpclient.ShutDown,
        "BrokenBarrierError": BrokenBarrierError,
    }
)
"""asyncio as the tests see it."""


def classes_of(module: str) -> Iterator[type[unittest.TestCase]]:
    """Yield the classes of one of asyncio's modules of tests."""
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin)
    tree = ast.fix_missing_locations(_Awaits().visit(ast.parse(path.read_text("utf-8"))))
    names: dict[str, Any] = {"__name__": module, "__file__": str(path)}
    exec(compile(tree, str(path), "exec"), names)
    names["asyncio"] = _ASYNCIO
    for kind in [
        one for one in names.values() if isinstance(one, type) and issubclass(one, unittest.TestCase)
    ]:
        yield type(kind.__name__, (kind, _Connected), {"__module__": module})
