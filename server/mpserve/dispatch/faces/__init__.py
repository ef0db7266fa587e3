"""What stock clients see of each kind: the methods of the standard library's own objects, in terms of our
operations.

One class per kind of proxy, the method names, parameters and defaults those of the standard library's object,
so that a wrong call fails with the same TypeError. A method returns a `Plan` (call this operation, then make
the result of its answer) or, where nothing has to be asked, the result itself.

`base` is what all share, `arguments` what they accept, `creation` how they are made; `queues`, `sync`,
`dicts`, `lists`, `sets` and `cells` (Namespace, Value, Array) are the classes.
"""

from mpserve.dispatch.faces.base import Face, Plan
from mpserve.dispatch.faces.cells import ArrayFace, NamespaceFace, ValueFace
from mpserve.dispatch.faces.dicts import DictFace, IteratorFace
from mpserve.dispatch.faces.lists import ListFace
from mpserve.dispatch.faces.queues import QueueFace
from mpserve.dispatch.faces.sets import SetFace
from mpserve.dispatch.faces.sync import (
    BarrierFace,
    ConditionFace,
    EventFace,
    LockFace,
    RLockFace,
    SemaphoreFace,
)

__all__ = ["FACES", "Face", "Plan"]

FACES: dict[str, type[Face]] = {
    "array": ArrayFace,
    "barrier": BarrierFace,
    "condition": ConditionFace,
    "dict": DictFace,
    "event": EventFace,
    "iterator": IteratorFace,
    "list": ListFace,
    "lock": LockFace,
    "namespace": NamespaceFace,
    "queue": QueueFace,
    "rlock": RLockFace,
    "semaphore": SemaphoreFace,
    "set": SetFace,
    "value": ValueFace,
}
