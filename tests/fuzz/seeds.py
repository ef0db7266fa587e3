"""Traffic of honest peers, which every target begins with; made anew each time, so it is always today's."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any, Final

from tests.contract.cases import CASES, Case
from tests.fuzz.t_server import NEW, SECRET, SESSION, Wire, World, say
from tests.fuzz.t_wire import KEY, honest_hello, honest_proof
from tests.property.symbolic_samples import samples
from tests.stock_client import StockClient

from mpclient.values.jobs_format import dump_items
from mpclient.values.rows import dump_values
from mpserve.core.calls import SessionInfo
from mpserve.dispatch.faces import FACES
from mpserve.dispatch.faces.creation import CREATORS
from mpserve.engines.journal.codec import Answer, Entry, encode
from mpserve.engines.journal.portable import to_lines
from mpshared.ops import BY_NAME
from mpshared.settings import TABLE
from mpshared.values import LONG_HEADER, PICKLE, PickledKey, Value
from mpshared.wire.framing import join_frame
from mpshared.wire.handshake import CHALLENGE, FAILURE, OWN, TLS_ONLY_FRAME, WELCOME
from mpshared.wire.own import frames
from mpshared.wire.own.frames import Type
from mpshared.wire.own.pack import pack
from mpshared.wire.stock.server import ServerHandshake as StockServer

__all__ = [
    "client_streams",
    "exports",
    "handshakes",
    "hellos",
    "large_streams",
    "msgpacks",
    "own_streams",
    "pairs",
    "pickles",
    "requests",
    "rows",
    "server_streams",
    "states",
    "stock_streams",
    "typed",
    "value_rows",
]

_SEED_MAX_BYTES: Final = 2000
"""Small ones are changed at the right place sooner."""

# -- pickles --------------------------------------------------------------------------------------


def pickles() -> Iterator[bytes]:
    """Yield values of every sort, in the protocols that are read."""
    for protocol in (2, 4, 5):
        for value in samples().values():
            data = pickle.dumps(value, protocol)
            if len(data) <= _SEED_MAX_BYTES:
                yield data


def pairs() -> Iterator[bytes]:
    """Yield two values each: the same one in two protocols, and neighbours."""
    values = [value for value in samples().values() if len(pickle.dumps(value)) <= _SEED_MAX_BYTES]
    for value, following in pairwise(values):
        yield join_frame(pickle.dumps(value, 2)) + join_frame(pickle.dumps(value, 4))
        yield join_frame(pickle.dumps({1: value})) + join_frame(pickle.dumps({1: following}))


# -- the standard library's protocol -----------------------------------------------------------------

_ARGUMENTS: Final[tuple[tuple[Any, ...], ...]] = ((), (0,), ("a",), ("a", 1), ([1, 2],), (False,), (0, 1, 2))
_CREATED_WITH: Final[dict[str, tuple[Any, ...]]] = {
    "Value": ("i", 1),
    "Array": ("i", [1, 2, 3]),
    "Barrier": (2,),
    "dict": ({"a": 1, (1, 2): [3]},),
    "list": (["a", 1, None],),
    "set": ({"a", 1},),
}


def requests() -> Iterator[bytes]:
    """Yield streams of requests: an object is created, then each of its methods is called in some ways."""
    for typeid, (kind, _) in CREATORS.items():
        begin = [
            (None, "create", (typeid, *_CREATED_WITH.get(typeid, ())), {}),
            (None, "incref", ("id1",), {}),
        ]
        for method in (*FACES[kind].EXPOSED, "__str__", "#GETVALUE"):
            calls = [("id1", method, args, {}) for args in _ARGUMENTS]
            yield _as_frames([*begin, (None, "accept_connection", ("c",), {}), *calls])
    for function in ("dummy", "number_of_objects", "debug_info", "shutdown", "get_methods", "decref"):
        yield _as_frames(
            [(None, "create", ("Queue",), {}), (None, function, ("id1",) * (function == "decref"), {})]
        )


def _as_frames(messages: list[Any]) -> bytes:
    return b"".join(join_frame(pickle.dumps(message)) for message in messages)


def stock_streams() -> Iterator[bytes]:
    """Yield frames of some sizes, and the long form of a length."""
    yield _as_frames([1, "two", None])
    yield join_frame(b"")
    yield b"\xff\xff\xff\xff" + (5).to_bytes(8, "big") + b"12345" + join_frame(b"6")
    yield join_frame(bytes(3000))


# -- handshakes -----------------------------------------------------------------------------------


def hellos() -> Iterator[bytes]:
    """Yield what clients begin with, with keys of their own."""
    yield honest_hello() + honest_proof()
    yield join_frame(OWN + pack({"versions": [2, 7], "nonce": b"C" * 32, "channel": b"channel", "more": [1]}))
    for md5_allowed in (False, True):
        client = StockClient(KEY + b"?", md5_allowed=md5_allowed, nonce=b"c" * 40)
        client.receive_data(StockServer(KEY, md5_allowed=md5_allowed, nonce=b"s" * 40).data_to_send())
        client.next_event()
        yield client.data_to_send() + join_frame(CHALLENGE + b"{sha256}" + b"n" * 40) + join_frame(WELCOME)
    yield join_frame(b"x" * 16) + join_frame(CHALLENGE + b"n" * 20)
    yield b"\x16\x03\x01\x02\x00\x01"


def handshakes() -> Iterator[bytes]:
    """Yield what servers answer with, without our key."""
    challenge = join_frame(CHALLENGE + b"{sha256}" + b"s" * 40)
    proof = join_frame(b"p" * 32)
    for answer in (
        {"version": 1, "nonce": b"S" * 32},
        {"version": 1, "nonce": b"S" * 32, "channel": b"channel"},
        {"refused": "too old", "versions": [3, 4]},
    ):
        yield challenge + join_frame(OWN + pack(answer)) + proof
    yield challenge + join_frame(FAILURE + b"the keys differ")
    yield challenge + join_frame(WELCOME) + join_frame(b"{sha256}" + b"a" * 32)
    yield join_frame(CHALLENGE + b"n" * 20) + join_frame(WELCOME) + join_frame(b"a" * 16)
    yield TLS_ONLY_FRAME


# -- our own protocol -------------------------------------------------------------------------------


def _calls(case: Case) -> Iterator[bytes]:
    """Yield the frames of one operation's case."""
    numbers = iter(range(1, 100))

    def call(name: str, target: str, args: list[Any], blobs: Any = ()) -> bytes:
        return b"".join(frames.encode_call(BY_NAME[name].code, 0, next(numbers), 0, target, args, blobs))

    ident = ""
    if case.kind != "cluster":
        ident = "id1"
        yield call("cluster.open", "", [case.kind, None, case.settings, False, None], case.first)
        for method, args, blobs in case.before:
            yield call(f"{case.kind}.{method}", ident, args, blobs)
    yield call(case.name, ident, case.args, case.blobs)


_NAMED: Final = frames.encode_call(
    BY_NAME["cluster.open"].code, 0, 1, 0, "", ["lock", "door", {}, False, 9.5], ()
)
_CONTROLS: Final = (
    frames.encode_control(Type.HEARTBEAT, body=[SESSION]),
    frames.encode_control(Type.ACK, 0, ack=1),
    frames.encode_control(Type.ABANDON, 0, 1),
    frames.encode_control(Type.LANE_CLOSED, 0, ack=1),
    frames.encode_control(Type.OUTPUT, 0, 1, body=[SESSION, [[1, b"line\n"], [2, b"piece"]]]),
    frames.encode_control(Type.OUTPUT, body=[1, []]),
    frames.encode_control(Type.GOODBYE, body="bye"),
)


def client_streams() -> Iterator[bytes]:
    """Yield what clients send: every operation, every control, and two lanes at once."""
    for case in CASES:
        yield b"".join(_calls(case))
    for control in _CONTROLS:
        yield b"".join((*_NAMED, *control))
    attach = frames.encode_control(Type.ATTACH, body=NEW)
    lane = frames.encode_control(
        Type.ATTACH, body={"session": SESSION, "secret": SECRET, "lane": 1, "ack": 0}
    )
    acquire = BY_NAME["lock.acquire"].code
    both = [frames.encode_call(acquire, n, 2 - n, 0, "id1", [None], ()) for n in (1, 0)]
    yield b"".join((*attach, *_NAMED, *lane, *both[0], *both[1]))
    again = {**NEW, "before": {"session": SESSION, "secret": SECRET}}
    yield b"".join(frames.encode_control(Type.ATTACH, body=again))


def server_streams() -> Iterator[bytes]:
    """Yield what a server answers to all that."""
    for stream in client_streams():
        answers = say(World(), Wire(), stream)
        if len(answers) <= _SEED_MAX_BYTES:
            yield answers
    attached = frames.encode_control(Type.ATTACHED, body={"session": SESSION})
    died = frames.encode_error(0, 1, "worker_died", "it died", {"task": "f", "pid": 7, "host": "here"})
    yield b"".join((*attached, *died))


def own_streams() -> Iterator[bytes]:
    """Yield both sides' frames."""
    yield from client_streams()
    yield from server_streams()


def large_streams() -> Iterator[bytes]:
    """Yield frames with values of some sizes, before and behind small ones; and small ones alone."""
    put, long = BY_NAME["queue.put_many"].code, bytes(300)
    small = b"".join(frames.encode_call(put, 0, 2, 0, "id1", [1], [b"K\x01."]))
    outside = LONG_HEADER.pack(b"B", len(long)) + long  # of a pickle's frames, as what is really long
    for blob in (
        b"\x80\x05" + outside + b".",
        b"\x80\x05\x95\x02\0\0\0\0\0\0\0](" + outside + outside + b"K\x01e.",
        pickle.dumps([1] * 300, 4),
        Value(PICKLE, pickle.dumps(long, 5), (long, b"1"), ("id7",)),
    ):
        yield b"".join((*frames.encode_call(put, 0, 1, 0, "id1", [2], [blob, b"N."]), small))
        for reply in (frames.encode_reply(0, 1, None, [blob]), frames.encode_reply(0, 1, [long], [blob])):
            yield b"".join((*reply, *frames.encode_reply(0, 2, None, [b"N."]), *reply))
    yield b"".join(frames.encode_call(put, 0, 1, 0, "id1" * 40, [1], [bytes([n]) * 9 for n in range(40)]))
    yield from own_streams()


def value_rows() -> Iterator[bytes]:
    """Yield values that were pickled together, and jobs; as frames."""
    for row in ([1, 2.5, True, -1, 1 << 40], ["a", b"b", "ü" * 20], [*range(300, 340)], [0.1, "x" * 300]):
        for bunch in (dump_values(row), dump_items("d" * 32, row)):
            if bunch is not None:
                yield b"".join(map(join_frame, bunch))
    yield b"".join(join_frame(pickle.dumps(n)) for n in range(3))


def msgpacks() -> Iterator[bytes]:
    """Yield heads and hellos."""
    for stream in own_streams():
        size = int.from_bytes(stream[28:32], "big")
        yield stream[32 : 32 + size]
    yield pack({"versions": [1, 1], "nonce": b"C" * 32})
    yield pack(PickledKey(b"key"))


# -- the journal ----------------------------------------------------------------------------------


def _entries(case: Case) -> list[Entry]:
    """Return what a journal keeps of one operation's case."""
    world = World(recording=True)
    info = SessionInfo(role="program", python=(3, 11))
    about: dict[str, Any] = {name: getattr(info, name) for name in SessionInfo.__slots__}
    began: Entry = ("", "began", (SESSION, SECRET, about))
    say(world, Wire(), b"".join(_calls(case)))
    answer = Answer(
        SESSION, 0, 2, 1, BY_NAME[case.name].code, "id1", None, None, list(case.blobs) or None, None
    )
    return [began, *(world.engine.fx.records or ()), answer]


@cache
def _all_entries() -> list[list[Entry]]:
    return [_entries(case) for case in CASES]


def rows() -> Iterator[bytes]:
    """Yield rows: a turn's changes, and an answer."""
    for entries in _all_entries():
        yield encode(entries)[0]


def states() -> Iterator[bytes]:
    """Yield journals of some rows."""
    for entries in _all_entries():
        yield b"".join(join_frame(encode([entry])[0]) for entry in entries)


def exports() -> Iterator[bytes]:
    """Yield exports."""
    for entries in _all_entries():
        yield "\n".join(to_lines(("server", "epoch"), entries)).encode()


# -- what people type -----------------------------------------------------------------------------


def typed() -> Iterator[bytes]:
    """Yield the settings' own examples, and addresses."""
    yield "\n".join(setting.shown for setting in TABLE).encode()
    for line in (
        "server:7707",
        "[::1]:7707",
        "unix:/run/mpserve.sock",
        "[fe80::1%eth0]:1",
        "1.5GiB",
        "500ms",
        "2",
    ):
        yield line.encode()
