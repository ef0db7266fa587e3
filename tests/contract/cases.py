"""Every operation of the table once, as an honest client calls it, and what goes before it."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mpshared.values import Blob, PickledKey

__all__ = ["CASES", "Case"]

ONE, TWO, SIX = pickle.dumps(1), pickle.dumps(2), pickle.dumps(6)
A, B, C = pickle.dumps("a"), pickle.dumps("b"), pickle.dumps("c")
KEY = PickledKey(pickle.dumps((1, 2)))

Steps = Sequence[tuple[str, list[Any], Sequence[Blob]]]
"""Calls: method, arguments, values."""


@dataclass
class Case:
    """One call, and what goes before it."""

    kind: str
    method: str
    args: list[Any] = field(default_factory=list)
    blobs: Sequence[Blob] = ()
    result: Any = None
    out: Sequence[Blob] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    first: Sequence[Blob] = ()
    """Values that the object is created with."""
    before: Steps = ()

    @property
    def name(self) -> str:
        return f"{self.kind}.{self.method}"


def puts(*blobs: Blob) -> Steps:
    return [("put_many", [None], blobs)]


LEASED = [*puts(A, B), ("get", [None, True], ())]
FULL_DICT: Steps = [("update", [["x", KEY]], (ONE, B))]
ABC = (A, B, C)
HELD: Steps = [("acquire", [None], ())]
BEGUN = 1_000_000_000
"""The number before that of a lock's first holder: the rigs' time when it is made, in microseconds."""
MEMBERS: Steps = [("update", [["x", "y", KEY]], ())]
NUMBERS = {"typecode": "i", "numbers": [1, 2, 3]}
ALL = [None, None, None]
ATTRIBUTE: Steps = [("set", ["x"], (ONE,))]
JOBS: Steps = [("submit", [1], ABC)]
ENQUEUED: Steps = [("enqueue", [{}], (A,))]
STANDING: Any = {"settings": {"name": "standing", "standing": True}}

CASES = [
    Case("queue", "put", [None], [A]),
    Case("queue", "put_many", [None], [A, B]),
    Case("queue", "put_revocably", [None], [A]),
    Case("queue", "get", [None, False], out=[A], before=puts(A, B)),
    Case("queue", "get_many", [5, None, True], result=[[1, 2, 1]], out=[A, B], before=puts(A, B)),
    Case("queue", "task_done", [1], before=LEASED),
    Case("queue", "join", [None], result=True),
    Case("queue", "qsize", result=2, before=puts(A, B)),
    Case("queue", "full", result=True, before=puts(A, B), settings={"maxsize": 2}),
    Case("queue", "clear", result=2, before=puts(A, B)),
    Case("queue", "shutdown", [True], before=puts(A, B)),
    Case(
        "queue",
        "exchange",
        [None, [[1, 1]], 1, None, None],
        result=[[[2, 2, 1]], False, [[3, 11]], 0, None, 0],
        out=[B],
        before=LEASED,
    ),
    Case(
        "queue",
        "exchange_ahead",
        [None, [[1, 1]], 1, None],
        result=[[[2, 2, 1]], False, [[3, 11]], 0, None, 0],
        out=[B],
        before=LEASED,
    ),
    Case("queue", "hand_back", [[[1, 1]]], result=1, before=LEASED),
    Case("queue", "dead_list", result=[]),
    Case("queue", "dead_requeue", [[]], result=0),
    Case("queue", "dead_drop", [[]], result=0),
    Case("queue", "put_later", [None, {"delay_s": 5}], [A]),
    Case("queue", "unfinished", result=2, before=puts(A, B)),
    Case("pool", "submit", [1], ABC),
    Case("pool", "collect", [9, 0], result=[[], 3], before=JOBS),
    Case("pool", "cancel", [[[2, 7]]], result=[[2, 3]], before=JOBS),
    Case("pool", "teach", ["digest"], [A]),
    Case("pool", "learn", ["digest"], out=[A], before=[("teach", ["digest"], (A,))]),
    Case("pool", "equip", [], [A], result=1),
    Case("pool", "spec", result=..., out=[A], before=[("equip", [], (A,))]),
    Case("pool", "hand_back", [[[1, 3]]], result=0, before=JOBS),
    Case("pool", "forget", ["digest"], before=[("teach", ["digest"], (A,))]),
    Case("pool", "submit_on_terms", [1, {"delay_s": 5, "retries": 2}], [A]),
    Case("pool", "enqueue", [{"key": "k", "retries": 1}], [A], result=[1, True], **STANDING),
    Case("pool", "ask", [1, 0], result=["waiting", 0], before=ENQUEUED, **STANDING),
    Case("pool", "release", [1], result=False, before=ENQUEUED, **STANDING),
    Case("pool", "stop", [[[2, 7]], 1.5], result=[[[2, 3]], []], before=JOBS),
    Case("pool", "waiting", [[[2, 7]]], result=[[2, 3]], before=JOBS),
    Case("dict", "get", [KEY], out=[B], before=FULL_DICT),
    Case("dict", "set", ["y"], [A]),
    Case("dict", "delete", ["x"], before=FULL_DICT),
    Case("dict", "contains", [KEY], result=True, before=FULL_DICT),
    Case("dict", "len", result=2, before=FULL_DICT),
    Case("dict", "keys", result=["x", KEY], before=FULL_DICT),
    Case("dict", "values", out=[ONE, B], before=FULL_DICT),
    Case("dict", "items", result=["x", KEY], out=[ONE, B], before=FULL_DICT),
    Case("dict", "pop", ["x"], out=[ONE], before=FULL_DICT),
    Case("dict", "popitem", result=[KEY], out=[B], before=FULL_DICT),
    Case("dict", "setdefault", ["new"], [C], out=[C], before=FULL_DICT),
    Case("dict", "update", [["a", "b"]], [A, B]),
    Case("dict", "clear", before=FULL_DICT),
    Case("dict", "incr", ["x", 41], result=42, before=FULL_DICT),
    Case("dict", "cas", ["x", True, True], [ONE, TWO], result=True, before=FULL_DICT),
    Case("list", "get", [-1], out=[C], first=ABC),
    Case("list", "set", [0], [C], first=ABC),
    Case("list", "delete", [1], first=ABC),
    Case("list", "get_slice", [[0, 2, None]], out=[A, B], first=ABC),
    Case("list", "set_slice", [[0, 2, None]], [C], first=ABC),
    Case("list", "delete_slice", [[None, None, 2]], first=ABC),
    Case("list", "append", [], [A]),
    Case("list", "extend", [], [A, B]),
    Case("list", "insert", [0], [C], first=ABC),
    Case("list", "pop", [-1], out=[C], first=ABC),
    Case("list", "remove", [], [B], first=ABC),
    Case("list", "index", [0, None], [B], result=1, first=ABC),
    Case("list", "count", [], [B], result=1, first=ABC),
    Case("list", "contains", [], [B], result=True, first=ABC),
    Case("list", "len", result=3, first=ABC),
    Case("list", "reverse", first=ABC),
    Case("list", "sort", [True], first=ABC),
    Case("list", "clear", first=ABC),
    Case("list", "repeat", [2], first=ABC),
    Case("list", "cas", [0], [A, B], result=True, first=ABC),
    Case("list", "incr", [0, 5], result=6, first=[ONE]),
    Case("list", "snapshot", result=1, out=ABC, first=ABC),
    Case("list", "replace", [1], [C, A], result=True, first=ABC),
    Case("set", "add", [KEY], result=True),
    Case("set", "discard", ["x"], before=MEMBERS),
    Case("set", "remove", [KEY], before=MEMBERS),
    Case("set", "contains", [KEY], result=True, before=MEMBERS),
    Case("set", "pop", result=[KEY], before=MEMBERS),
    Case("set", "clear", before=MEMBERS),
    Case("set", "len", result=3, before=MEMBERS),
    Case("set", "members", result=["x", "y", KEY], before=MEMBERS),
    Case("set", "update", [["z"]], before=MEMBERS),
    Case("set", "difference_update", [["x"]], before=MEMBERS),
    Case("set", "intersection_update", [["x"]], before=MEMBERS),
    Case("set", "symmetric_difference_update", [["x", "new"]], before=MEMBERS),
    Case("namespace", "get", ["x"], out=[ONE], before=ATTRIBUTE),
    Case("namespace", "set", ["y"], [A]),
    Case("namespace", "delete", ["x"], before=ATTRIBUTE),
    Case("namespace", "items", result=["x"], out=[ONE], before=ATTRIBUTE),
    Case("namespace", "incr", ["x", 1], result=2, before=ATTRIBUTE),
    Case("value", "get", out=[ONE], first=[ONE]),
    Case("value", "get_typed", result="i", out=[ONE], first=[ONE], settings={"typecode": "i"}),
    Case("value", "set", [], [TWO], first=[ONE]),
    Case("value", "incr", [5], result=6, first=[ONE]),
    Case("value", "cas", [], [ONE, SIX], result=True, first=[ONE]),
    Case("array", "get", [0], result=1, settings=NUMBERS),
    Case("array", "set", [0, 9], settings=NUMBERS),
    Case("array", "get_slice", [ALL], result=[1, 2, 3], settings=NUMBERS),
    Case("array", "set_slice", [ALL, [7, 8]], settings=NUMBERS),
    Case("array", "len", result=3, settings=NUMBERS),
    Case("array", "incr", [2, 4], result=7, settings=NUMBERS),
    Case("array", "get_typed", [ALL], result=["i", [1, 2, 3]], settings=NUMBERS),
    Case("event", "set"),
    Case("event", "clear", before=[("set", [], ())]),
    Case("event", "is_set", result=True, before=[("set", [], ())]),
    Case("event", "wait", [None], result=True, before=[("set", [], ())]),
    Case("lock", "acquire", [None], result=True),
    Case("lock", "release", before=HELD),
    Case("lock", "locked", result=True, before=HELD),
    Case("lock", "recover", result=False, before=HELD),
    Case("lock", "get_fence", result=BEGUN + 1, before=HELD),
    Case("rlock", "acquire", [None], result=True, before=HELD),
    Case("rlock", "release", before=HELD),
    Case("rlock", "locked", result=True, before=HELD),
    Case("rlock", "recover", result=False, before=HELD),
    Case("rlock", "get_fence", result=BEGUN + 1, before=HELD),
    Case("semaphore", "acquire", [None], result=True),
    Case("semaphore", "release", [1], before=HELD),
    Case("semaphore", "get_value", result=2, settings={"value": 2}),
    Case("condition", "acquire", [None], result=True),
    Case("condition", "release", before=HELD),
    Case("condition", "locked", result=True, before=HELD),
    Case("condition", "wait", [0], result=False, before=HELD),
    Case("condition", "notify", [1], before=HELD),
    Case("condition", "notify_all", before=HELD),
    Case("condition", "recover", result=False, before=HELD),
    Case("condition", "get_fence", result=BEGUN + 1, before=HELD),
    Case("condition", "hold_again", before=HELD),
    Case("barrier", "wait", [None], result=[0, False], settings={"parties": 1}),
    Case("barrier", "action_done", [False], settings={"parties": 1}),
    Case("barrier", "reset", settings={"parties": 2}, before=[("abort", [], ())]),
    Case("barrier", "abort", settings={"parties": 2}),
    Case("barrier", "status", result=[2, 0, False], settings={"parties": 2}),
    Case("iterator", "next", out=[A], first=ABC),
    Case("pipe", "send", [], [A]),
    Case("pipe", "recv", out=[A], before=[("send", [], [A]), ("send", [], [B])]),
    Case("pipe", "poll", [None], result=True, before=[("send", [], [A])]),
    Case("process", "wait", [0], first=[A]),
    Case("process", "look", result=["pending", "", 0, None, ""], first=[A]),
    Case("process", "signal", [15], result=False, first=[A]),
    Case("process", "ended", [0, {}], result=False, first=[A]),
    Case("process", "refused", ["no memory"], result=False, first=[A]),
    Case("cluster", "open", ["dict", "d", {}, False, None], result=["id1", "dict", {}]),
    Case("cluster", "delete", ["d", None], result=False),
    Case("cluster", "list_objects", result=[]),
    Case("cluster", "adopt", [[]], result=[]),
    Case("cluster", "drop", [[]]),
    Case("cluster", "lend", [[]]),
    Case("cluster", "status", result=...),
    Case("cluster", "next_command", [0]),
    Case("cluster", "report_death", ["nobody", {}], result=False),
    Case("cluster", "count", result=0),
    Case("cluster", "describe", ["gone"], result=None),
    Case("cluster", "why", [None, None], result={"waits": [], "circles": [], "sessions": {}}),
    Case("cluster", "wait", [[], 0], result=[]),
]
