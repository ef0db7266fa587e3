"""Whatever bytes a client calls a key or a value: a container answers, or refuses with an error of ours."""

import contextlib
import pickle
from collections import OrderedDict

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.property.containers import VALUES
from tests.unit.core.harness import World

from mpserve.core.t_dict import Dict
from mpserve.core.t_list import List
from mpserve.core.t_set import Set
from mpserve.core.t_value import Value as Cell
from mpshared.errors import MpserveError
from mpshared.values import PICKLE, PickledKey, Value

ONE = pickle.dumps(1)


def tuple_tower(height):
    """Return a short pickle of t = (t, t), `height` times: as a key it would be hashed for ever."""
    return b"\x80\x04)\x94" + b"".join(b"h%ch%c\x86\x94" % (n, n) for n in range(height)) + b"."


FIXED = [
    b"",
    b".",
    b"N",
    b"\x80\x04r\xff\xff\xff\x7f.",
    b"]\x94h\x00a.",
    b"}]K\x01s.",
    b"ccollections\nOrderedDict\n)R]K\x01s.",
    b"(" * 5_000 + b"t" * 5_000 + b".",
    b"]" * 5_000 + b"a" * 4_999 + b".",
    tuple_tower(40),
    b"cos\nsystem\n(Vtrue\ntR.",
    pickle.dumps(10**5000),
    pickle.dumps(float("nan")),
    pickle.dumps(OrderedDict(a=1)),
    pickle.dumps(World),
]


@st.composite
def damaged(draw):
    data = bytearray(pickle.dumps(draw(VALUES), draw(st.integers(0, 5))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


BYTES = st.one_of(st.sampled_from(FIXED), st.binary(max_size=20), damaged())
BLOBS = BYTES | st.builds(lambda data, buffer: Value(PICKLE, data, (buffer,)), BYTES, BYTES)


class Peer:
    """A client that minds no errors, as long as they are ours."""

    def __init__(self):
        self.world = World()
        self.lane = self.world.lane()

    def try_all(self, machine, *calls):
        for method, args, blobs in calls:
            with contextlib.suppress(MpserveError):
                self.world.ask(self.lane, machine, method, *args, blobs=blobs)


@settings(max_examples=examples(150), deadline=None)
@given(BYTES, BYTES)
def test_keys(one, other):
    peer, key, second = Peer(), PickledKey(one), PickledKey(other)
    peer.try_all(
        peer.world.add(Dict),
        ("set", [key], [ONE]),
        ("update", [[second, key]], [ONE, ONE]),
        ("get", [second], []),
        ("incr", [key, 1], []),
        ("items", [], []),
        ("pop", [key], []),
    )
    peer.try_all(
        peer.world.add(Set),
        ("update", [[key, second]], []),
        ("symmetric_difference_update", [[key]], []),
        ("intersection_update", [[second]], []),
        ("members", [], []),
        ("remove", [second], []),
    )


@settings(max_examples=examples(150), deadline=None)
@given(BLOBS, BLOBS)
def test_values(one, other):
    peer = Peer()
    peer.try_all(
        peer.world.add(List, one, ONE, other),
        ("contains", [], [other]),
        ("count", [], [one]),
        ("index", [0, None], [ONE]),
        ("incr", [0, 1], []),
        ("cas", [0], [other, ONE]),
        ("sort", [False], []),
        ("remove", [], [other]),
    )
    peer.try_all(peer.world.add(Cell, one), ("incr", [0.5], []), ("cas", [], [other, one]))
