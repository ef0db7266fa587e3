"""The client of asyncio: the same shared objects, awaited; one connection for all tasks.

    async with mpclient.aio.connect() as cluster:
        queue = await cluster.Queue(name="numbers")
        await queue.put(1)
        async with await cluster.Lock(name="printer"):
            print(await queue.get())

RULES
* A task is what a thread is elsewhere: an owner of RLocks and Conditions, and a line of calls of its own.
* Cancelling a task takes back what its call took: no item is lost, no lock stays taken.
* A connection belongs to the event loop in which it was made.

`session` and `line` are the connection, `tasks` and `lane` who calls over it, `threads` what waits beside the
loop; `cluster` makes objects, `kinds` finds their classes: `containers`, `locks`, `numbers`, `pipes`,
`queues`, on `base`.
"""

from mpclient.aio.cluster import Cluster, connect
from mpclient.aio.containers import MISSING, Dict, List, Namespace, Set
from mpclient.aio.locks import Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore
from mpclient.aio.numbers import Array, RawArray, RawValue, Value
from mpclient.aio.pipes import Connection
from mpclient.aio.queues import JoinableQueue, LifoQueue, PriorityQueue, Queue, SimpleQueue

__all__ = [
    "MISSING",
    "Array",
    "Barrier",
    "BoundedSemaphore",
    "Cluster",
    "Condition",
    "Connection",
    "Dict",
    "Event",
    "JoinableQueue",
    "LifoQueue",
    "List",
    "Lock",
    "Namespace",
    "PriorityQueue",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "Semaphore",
    "Set",
    "SimpleQueue",
    "Value",
    "connect",
]
