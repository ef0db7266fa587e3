"""Tests of asyncio: run in a loop, and ask the server."""

from __future__ import annotations

import asyncio
from functools import wraps


def loop(test):
    """Run a test in an event loop."""

    @wraps(test)
    def run(*args, **kwargs):
        async def limited():
            async with asyncio.timeout(20):
                await test(*args, **kwargs)

        asyncio.run(limited(), debug=True)

    return run


async def until(condition):
    """Wait until the server says so, 10 s at most."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - it is the server that is asked
            await asyncio.sleep(0.01)


async def waiters(cluster, name):
    """Return how many calls wait for a named object."""
    [found] = [each for each in (await cluster.status())["objects"] if each["name"] == name]
    return found["waiters"]
