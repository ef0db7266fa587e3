"""Which class is which kind. To add a kind: a file ``t_<kind>.py``, its rows in `mpshared.ops`, a line
here.
"""

from __future__ import annotations

from typing import Final

from mpserve.core.machine import Machine
from mpserve.core.t_array import Array
from mpserve.core.t_barrier import Barrier
from mpserve.core.t_condition import Condition
from mpserve.core.t_dict import Dict
from mpserve.core.t_event import Event
from mpserve.core.t_iterator import Iterator
from mpserve.core.t_list import List
from mpserve.core.t_lock import Lock
from mpserve.core.t_namespace import Namespace
from mpserve.core.t_pipe import Pipe
from mpserve.core.t_pool import Pool
from mpserve.core.t_process import Process
from mpserve.core.t_queue import Queue
from mpserve.core.t_registered import Registered
from mpserve.core.t_rlock import RLock
from mpserve.core.t_semaphore import Semaphore
from mpserve.core.t_set import Set
from mpserve.core.t_value import Value

__all__ = ["KINDS"]

KINDS: Final[dict[str, type[Machine]]] = {
    c.kind: c
    for c in (
        Array,
        Barrier,
        Condition,
        Dict,
        Event,
        Iterator,
        List,
        Lock,
        Namespace,
        Pipe,
        Pool,
        Process,
        Queue,
        Registered,
        RLock,
        Semaphore,
        Set,
        Value,
    )
}
