"""THE table of operations: what a client may ask of which kind of object.

RULES
* An operation has a number that never changes; numbers are not reused.
* `args` are plain data (msgpack), in order; each is checked here before a state machine sees it.
* Values travel beside the args as blobs; `blobs` says how many ("*": any number).
* Durations travel, never times: seconds as float, None for ever, 0 without waiting.
* `undo` names the method that takes the operation back when its answer never reached who asked:
  only operations that *take* something need one.

| column     | meaning                                                                      |
|------------|------------------------------------------------------------------------------|
| writes     | changes state: is recorded, must be durable before it is answered            |
| idempotent | doing it twice is the same as once                                           |
| undo       | method of the state machine that takes it back                               |
| role       | least role that may call it: observe < client < admin. Without an admin key  |
|            | there are no admins, and clients may do all; see `mpserve.dispatch.roles`    |
| room       | when the server has no room for what is to be stored: "wait" for some, or    |
|            | "refuse" the call, or "enter" all the same: results, which would be lost;    |
|            | "": it stores nothing more                                                   |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from mpshared.errors import BadType, BadValue, TooBig
from mpshared.names import why_no_name
from mpshared.values import VALUES_MOST, PickledKey

__all__ = ["BY_CODE", "BY_NAME", "KINDS", "ROLES", "Arg", "Op", "Role", "check_args", "get_op"]

Role = Literal["observe", "client", "admin"]
ROLES: Final[tuple[Role, ...]] = ("observe", "client", "admin")
"""Each may do what those before it may."""
NoRoomThen = Literal["", "wait", "refuse", "enter"]
Check = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument: its name, and the check that returns it as the core wants it or raises."""

    name: str
    check: Check
    kind: str = ""
    """For arguments that name an object: the kind it must be."""


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One row of the table."""

    code: int
    kind: str
    method: str
    args: tuple[Arg, ...]
    blobs: int | Literal["*"]
    writes: bool
    idempotent: bool
    undo: str
    role: Role
    room: NoRoomThen = ""
    name: str = ""
    objects: tuple[int, ...] = ()
    """Positions of the arguments that name other objects."""
    passes: tuple[frozenset[type], ...] = ()
    """For each of `args` the types whose values are right as they are: most calls need no other check."""
    rank: int = 1
    """The place of `role` in `ROLES`."""


# -- checks ---------------------------------------------------------------------------------------


_PASSES: Final[dict[Check, frozenset[type]]] = {}
"""What a check returns as it is, whatever the value."""


def _of(*types: type) -> Check:
    names = " or ".join(t.__name__ for t in types)

    def check(value: Any) -> Any:
        if type(value) in types:
            return value
        raise BadType(f"expected {names}, got {type(value).__name__}")

    _PASSES[check] = frozenset(types)
    return check


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in {int, float} or value != value:  # noqa: PLR0124 - NaN
        raise BadType(f"expected seconds or None, got {value!r}")
    return value if value > 0 else 0.0


_COUNT_MOST: Final = (1 << 63) - 1
"""What Python, SQLite and C count to."""


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _COUNT_MOST:
        raise BadValue(f"expected a number from 0 to {_COUNT_MOST}, got {value!r}")
    return value


def _name(value: Any) -> str | None:
    if value is None:
        return None
    if type(value) is not str:
        raise BadValue(f"a name is a text, got {value!r:.80}")
    if problem := why_no_name(value):
        raise BadValue(problem)
    return value


_KEY_TYPES: Final[frozenset[type]] = frozenset({str, int, bytes, float, bool, type(None), PickledKey})


def _key(value: Any) -> Any:
    if type(value) in _KEY_TYPES:
        return value
    raise BadType(f"expected a key (a scalar, or a pickled key), got {type(value).__name__}")


def _few(value: Any) -> list[Any]:
    """Check a list that is walked through more than once."""
    if len(_list(value)) > VALUES_MOST:
        raise TooBig(
            f"{len(value)} elements in one call; the server takes {VALUES_MOST}, send them in smaller parts"
        )
    found: list[Any] = value
    return found


def _keys(value: Any) -> list[Any]:
    return [_key(v) for v in _few(value)]


def _ranges(value: Any) -> list[tuple[int, int]]:
    """Check ranges of item numbers: [[first, last], …], both ends included."""
    ranges = [(_count(first), _count(last)) for first, last in map(_pair, _few(value))]
    for first, last in ranges:
        if first > last:
            raise BadValue(f"a range ends before it begins: {ranges!r:.80}")
    return ranges


def _pair(value: Any) -> Any:
    if type(value) is list and len(value) == 2:
        return value
    raise BadType(f"expected a pair, got {value!r:.80}")


def _counts(value: Any) -> list[tuple[str, int]]:
    """Check counted references: [[ident, n], …]."""
    return [(_str(ident), _count(n)) for ident, n in map(_pair, _few(value))]


def _texts(value: Any) -> list[str]:
    return [_str(text) for text in _few(value)]


def _named(value: Any) -> dict[str, Any]:
    """Check a map whose keys are texts."""
    _texts(list(_map(value)))
    found: dict[str, Any] = value
    return found


def _slice(value: Any) -> slice:
    """Check a slice: [start, stop, step], each a number or None."""
    if type(value) is list and len(value) == 3 and all(v is None or type(v) is int for v in value):
        return slice(*value)
    raise BadType(f"expected [start, stop, step], got {value!r:.80}")


_PASSES[_seconds] = _PASSES[_name] = frozenset((type(None),))
_PASSES[_key] = _KEY_TYPES
_str, _list, _map = _of(str), _of(list), _of(dict)
_int, _bool, _number = _of(int), _of(bool), _of(int, float)
_opt_str, _opt_int = _of(str, type(None)), _of(int, type(None))


TIMEOUT = Arg("timeout_s", _seconds)
KEY, INDEX, N = Arg("key", _key), Arg("index", _int), Arg("n", _count)
NUMBER = Arg("by", _number)


def text(name: str) -> Arg:
    """Return an argument that is a string."""
    return Arg(name, _str)


# -- the table ------------------------------------------------------------------------------------

_TABLE: list[Op] = []


def _op(
    code: int,
    kind: str,
    method: str,
    *args: Arg,
    blobs: int | Literal["*"] = 0,
    writes: bool = True,
    again: bool = False,
    undo: str = "",
    role: Role = "client",
    room: NoRoomThen | None = None,
) -> None:
    objects = tuple(i for i, a in enumerate(args) if a.kind)
    row = Op(
        code,
        kind,
        method,
        args,
        blobs,
        writes,
        again or not writes,
        undo,
        role,
        ("refuse" if blobs and writes else "") if room is None else room,
        f"{kind}.{method}",
        objects,
        tuple(_PASSES.get(a.check, frozenset()) for a in args),
        ROLES.index(role),
    )
    _TABLE.append(row)


def _read(code: int, kind: str, method: str, *args: Arg, blobs: int | Literal["*"] = 0) -> None:
    _op(code, kind, method, *args, blobs=blobs, writes=False)


# cluster: calls that name no object (target "")
_op(
    0x0001,
    "cluster",
    "open",
    text("kind"),
    Arg("name", _name),
    Arg("settings", _named),
    Arg("fresh", _bool),
    Arg("ttl_s", _seconds),
    blobs="*",
    undo="undo_open",
)
_op(0x0002, "cluster", "delete", Arg("name", _name), Arg("kind", _opt_str), role="admin")
_op(0x0003, "cluster", "list_objects", writes=False, role="observe")
_op(0x0004, "cluster", "adopt", Arg("idents", _texts), undo="undo_adopt")
_op(0x0005, "cluster", "drop", Arg("counts", _counts))
_op(0x0006, "cluster", "lend", Arg("idents", _texts), again=True)
_op(0x0007, "cluster", "status", writes=False, role="observe")
_op(0x0008, "cluster", "shutdown", role="admin")
_op(0x0009, "cluster", "next_command", TIMEOUT, writes=False, undo="undo_next_command")
_op(0x000A, "cluster", "report_death", text("session"), Arg("report", _named), again=True)
_op(0x000B, "cluster", "count", writes=False, role="observe")
_read(0x000C, "cluster", "wait", Arg("idents", _texts), TIMEOUT)
_op(0x000D, "cluster", "release", text("lock"), Arg("kind", _opt_str), role="admin")
_op(0x000E, "cluster", "why", Arg("lock", _opt_str), Arg("kind", _opt_str), writes=False, role="observe")
_op(0x000F, "cluster", "describe", text("ident"), writes=False, role="observe")

# queue: Queue, JoinableQueue, SimpleQueue, LifoQueue, PriorityQueue
ROUND: Final = Arg("results", _opt_str, kind="queue"), Arg("done", _ranges), N
POOL: Final = Arg("pool", _opt_str, kind="pool")
_op(0x0101, "queue", "put", TIMEOUT, blobs=1, room="wait")
_op(0x0102, "queue", "put_many", TIMEOUT, blobs="*", room="wait")
_op(0x0103, "queue", "get", TIMEOUT, Arg("lease", _bool), undo="undo_get")
_op(0x0104, "queue", "get_many", N, TIMEOUT, Arg("lease", _bool), undo="undo_get")
_op(0x0105, "queue", "task_done", N)
_read(0x0106, "queue", "join", TIMEOUT)
_read(0x0107, "queue", "qsize")
_read(0x0108, "queue", "full")
_op(0x0109, "queue", "clear", role="admin")
_op(0x010A, "queue", "shutdown", Arg("immediate", _bool), again=True)
_op(0x010B, "queue", "exchange", *ROUND, TIMEOUT, POOL, blobs="*", undo="undo_get", room="enter")
_op(0x010C, "queue", "hand_back", Arg("ranges", _ranges))
_read(0x010D, "queue", "dead_list")
_op(0x010E, "queue", "dead_requeue", Arg("numbers", _few), role="admin")
_op(0x010F, "queue", "dead_drop", Arg("numbers", _few), role="admin")
_read(0x0110, "queue", "unfinished")
_op(0x0111, "queue", "put_later", TIMEOUT, Arg("terms", _named), blobs=1, room="wait")
_op(0x0112, "queue", "exchange_ahead", *ROUND, POOL, blobs="*", undo="undo_get", room="enter")
_op(0x0113, "queue", "put_revocably", TIMEOUT, blobs=1, undo="undo_put", room="wait")

# dict
_read(0x0201, "dict", "get", KEY)
_op(0x0202, "dict", "set", KEY, blobs=1, again=True)
_op(0x0203, "dict", "delete", KEY)
_read(0x0204, "dict", "contains", KEY)
_read(0x0205, "dict", "len")
_read(0x0206, "dict", "keys")
_read(0x0207, "dict", "values")
_read(0x0208, "dict", "items")
_op(0x0209, "dict", "pop", KEY)
_op(0x020A, "dict", "popitem")
_op(0x020B, "dict", "setdefault", KEY, blobs=1)
_op(0x020C, "dict", "update", Arg("keys", _keys), blobs="*", again=True)
_op(0x020D, "dict", "clear", again=True)
_op(0x020E, "dict", "incr", KEY, NUMBER)
_op(0x020F, "dict", "cas", KEY, Arg("has_old", _bool), Arg("has_new", _bool), blobs="*")

# list
_read(0x0301, "list", "get", INDEX)
_op(0x0302, "list", "set", INDEX, blobs=1, again=True)
_op(0x0303, "list", "delete", INDEX)
_read(0x0304, "list", "get_slice", Arg("part", _slice))
_op(0x0305, "list", "set_slice", Arg("part", _slice), blobs="*")
_op(0x0306, "list", "delete_slice", Arg("part", _slice))
_op(0x0307, "list", "append", blobs=1)
_op(0x0308, "list", "extend", blobs="*")
_op(0x0309, "list", "insert", INDEX, blobs=1)
_op(0x030A, "list", "pop", INDEX)
_op(0x030B, "list", "remove", blobs=1, room="")
_read(0x030C, "list", "index", Arg("start", _int), Arg("stop", _opt_int), blobs=1)
_read(0x030D, "list", "count", blobs=1)
_read(0x030E, "list", "contains", blobs=1)
_read(0x030F, "list", "len")
_op(0x0310, "list", "reverse")
_op(0x0311, "list", "sort", Arg("reverse", _bool), again=True)
_op(0x0312, "list", "clear", again=True)
_op(0x0313, "list", "repeat", INDEX, room="refuse")
_op(0x0314, "list", "cas", INDEX, blobs=2)
_op(0x0315, "list", "incr", INDEX, NUMBER)
_read(0x0316, "list", "snapshot")
_op(0x0317, "list", "replace", Arg("version", _count), blobs="*")

# set: members are keys
_op(0x0401, "set", "add", KEY, again=True, room="refuse")
_op(0x0402, "set", "discard", KEY, again=True)
_op(0x0403, "set", "remove", KEY)
_read(0x0404, "set", "contains", KEY)
_op(0x0405, "set", "pop")
_op(0x0406, "set", "clear", again=True)
_read(0x0407, "set", "len")
_read(0x0408, "set", "members")
_op(0x0409, "set", "update", Arg("keys", _keys), again=True, room="refuse")
_op(0x040A, "set", "difference_update", Arg("keys", _keys), again=True)
_op(0x040B, "set", "intersection_update", Arg("keys", _keys), again=True)
_op(0x040C, "set", "symmetric_difference_update", Arg("keys", _keys), room="refuse")

# namespace
_read(0x0501, "namespace", "get", text("attribute"))
_op(0x0502, "namespace", "set", text("attribute"), blobs=1, again=True)
_op(0x0503, "namespace", "delete", text("attribute"))
_read(0x0504, "namespace", "items")
_op(0x0505, "namespace", "incr", text("attribute"), NUMBER)

# value: one cell
_read(0x0601, "value", "get")
_op(0x0602, "value", "set", blobs=1, again=True)
_op(0x0603, "value", "incr", NUMBER)
_op(0x0604, "value", "cas", blobs=2)
_read(0x0605, "value", "get_typed")

# array: numbers of one type code, as in the array module
_read(0x0701, "array", "get", INDEX)
_op(0x0702, "array", "set", INDEX, NUMBER, again=True)
_read(0x0703, "array", "get_slice", Arg("part", _slice))
_op(0x0704, "array", "set_slice", Arg("part", _slice), Arg("numbers", _list), again=True, room="refuse")
_read(0x0705, "array", "len")
_op(0x0706, "array", "incr", INDEX, NUMBER)
_read(0x0707, "array", "get_typed", Arg("part", _slice))

# event
_op(0x0801, "event", "set", again=True)
_op(0x0802, "event", "clear", again=True)
_read(0x0803, "event", "is_set")
_read(0x0804, "event", "wait", TIMEOUT)

# lock, rlock
for _base, _kind in ((0x0900, "lock"), (0x0A00, "rlock")):
    _op(_base + 1, _kind, "acquire", TIMEOUT, undo="undo_acquire")
    _op(_base + 2, _kind, "release")
    _read(_base + 3, _kind, "locked")
    _op(_base + 4, _kind, "recover", undo="undo_recover")
    _read(_base + 5, _kind, "get_fence")

# semaphore
_op(0x0B01, "semaphore", "acquire", TIMEOUT, undo="undo_acquire")
_op(0x0B02, "semaphore", "release", N)
_read(0x0B03, "semaphore", "get_value")

# condition
_op(0x0C01, "condition", "acquire", TIMEOUT, undo="undo_acquire")
_op(0x0C02, "condition", "release")
_read(0x0C03, "condition", "locked")
_op(0x0C04, "condition", "wait", TIMEOUT, undo="undo_wait")
_op(0x0C05, "condition", "notify", N)
_op(0x0C06, "condition", "notify_all")
_op(0x0C07, "condition", "recover", undo="undo_recover")
_read(0x0C08, "condition", "get_fence")
_op(0x0C09, "condition", "hold_again", undo="undo_wait")

# barrier
_op(0x0D01, "barrier", "wait", TIMEOUT, undo="undo_wait")
_op(0x0D02, "barrier", "action_done", Arg("ok", _bool))
_op(0x0D03, "barrier", "reset")
_op(0x0D04, "barrier", "abort")
_read(0x0D05, "barrier", "status")

# iterator: a snapshot to walk through; only stock clients have it (they iterate over a dict by proxy)
_op(0x0E01, "iterator", "next", undo="undo_next")

# pool: the jobs of one Pool or executor, and their results
_op(0x0F01, "pool", "submit", Arg("first", _count), blobs="*", room="wait")
_op(0x0F02, "pool", "collect", N, TIMEOUT, undo="undo_collect")
_op(0x0F03, "pool", "cancel", Arg("ranges", _ranges))
_op(0x0F04, "pool", "teach", text("digest"), blobs=1, again=True)
_read(0x0F05, "pool", "learn", text("digest"))
_op(0x0F06, "pool", "equip", blobs=1, again=True)
_read(0x0F07, "pool", "spec")
_op(0x0F08, "pool", "hand_back", Arg("ranges", _ranges))
_op(0x0F09, "pool", "forget", text("digest"), again=True)
_read(0x0F0A, "pool", "waiting", Arg("ranges", _ranges))
_op(0x0F0B, "pool", "submit_on_terms", Arg("first", _count), Arg("terms", _named), blobs=1, room="wait")
_op(0x0F0C, "pool", "stop", Arg("ranges", _ranges), Arg("grace_s", _number))
_op(0x0F0D, "pool", "enqueue", Arg("terms", _named), blobs=1, room="wait")
_read(0x0F0E, "pool", "ask", Arg("number", _count), TIMEOUT)
_op(0x0F0F, "pool", "release", Arg("number", _count))

# process: one operating-system process on a worker host
_op(0x1001, "process", "start", TIMEOUT)
_op(0x1002, "process", "take")
_op(0x1003, "process", "ended", Arg("exitcode", _int), Arg("report", _named), again=True)
_read(0x1004, "process", "wait", TIMEOUT)
_op(0x1005, "process", "signal", Arg("number", _count))
_read(0x1006, "process", "look")
_op(0x1007, "process", "refused", text("why"))

# pipe: one end; cluster.drop closes it
_op(0x1101, "pipe", "send", blobs=1, room="wait")
_op(0x1102, "pipe", "recv", undo="undo_recv")
_read(0x1103, "pipe", "poll", TIMEOUT)

BY_CODE: Final[dict[int, Op]] = {op.code: op for op in _TABLE}
BY_NAME: Final[dict[str, Op]] = {op.name: op for op in _TABLE}
KINDS: Final[frozenset[str]] = frozenset(op.kind for op in _TABLE) - {"cluster"}


def get_op(code: int) -> Op:
    """Return the operation with this number; raise `BadValue` for an unknown one."""
    try:
        return BY_CODE[code]
    except KeyError:
        raise BadValue(
            f"there is no operation {code:#06x}; this server may be older than the client"
        ) from None


def check_args(op: Op, args: list[Any], blob_count: int) -> list[Any]:
    """Return `args` as the core wants them.

    Raises:
        BadType, BadValue: Too many, too few, or one of them is not what the table says.
    """
    if len(args) == len(op.args) and op.blobs in (blob_count, "*"):
        for value, passes in zip(args, op.passes):  # noqa: B905 - as many, see above; strict costs a call
            if type(value) not in passes:
                break
        else:
            return args
    return _check_each(op, args, blob_count)


def _check_each(op: Op, args: list[Any], blob_count: int) -> list[Any]:
    if len(args) != len(op.args):
        raise BadType(f"{op.name} takes {len(op.args)} arguments, got {len(args)}")
    if op.blobs not in {blob_count, "*"}:
        raise BadType(f"{op.name} takes {op.blobs} values, got {blob_count}")
    try:
        return [
            value if type(value) in passes else arg.check(value)
            for value, passes, arg in zip(args, op.passes, op.args, strict=True)
        ]
    except (BadType, BadValue) as err:
        raise type(err)(f"{op.name}: {err.text}") from None
