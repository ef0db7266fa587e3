"""Users' objects as values: the server cannot import their classes, and does not try."""

import pickle
import subprocess
import sys
from multiprocessing import connection

import pytest
from tests.stdlib.conftest import KEY, PYTHONS, run_python
from tests.stdlib.named import Named
from tests.stdlib.things import Colour, Grown, Listed, Mapped, Pair, Point, Slotted, shout

pytestmark = pytest.mark.stock

VALUES = [
    Point(1, Point(2, 3)),
    Colour.RED,
    Pair("left", Slotted),
    Grown(5),
    Listed([1, Point(1, 2)]),
    Mapped(a=Point(1, 2)),
    shout,
    {Point(1, 2): {Colour.RED: [Pair(1, 2)]}},
    ValueError(Point(1, 2)),
    (Point, Colour, shout),
]

CLIENT = """
import os, sys
from multiprocessing import current_process
from tests.stdlib.named import Named
from tests.stdlib.things import Colour, Mapped, Pair, Point
m = Named((sys.argv[1], int(sys.argv[2])), os.environ["MPSERVE_AUTHKEY"].encode())
m.connect()
current_process().authkey = m._authkey
value = [Point(1, 2), Colour.RED, Pair(1, {"x": (2, b"y")}), Mapped(a=1.5), {Point(3, 4): "key"}, 10**30]
d = m.get_dict("between pythons")
if sys.argv[3] == "write":
    d["list"] = value
    d[Point(5, 6)] = "found"
    d["shared"] = m.list([Point(7, 8)])
else:
    assert d["list"] == value, d["list"]
    assert d[Point(5, 6)] == "found"
    assert d["shared"][0] == Point(7, 8)
    assert Point(5, 6) in d.keys()
    d.clear()
"""


def test_the_server_has_none_of_their_classes(server):
    code = "import sys, mpserve.server; print('tests.stdlib.things' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == "False\n"


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_it_was_from_everywhere(value, manager):
    d, numbers, q = manager.dict(), manager.list(), manager.Queue()
    namespace, cell = manager.Namespace(), manager.Value("i", 0)
    d["x"] = value
    numbers.append(value)
    q.put(value)
    namespace.x = value
    cell.value = value
    for got in (d["x"], numbers[0], q.get(), namespace.x, cell.value, d.values()[0], numbers[:][0]):
        assert type(got) is type(value)
        assert repr(got) == repr(value)
    for got in (d.pop("x"), numbers.pop(), *d.values()):
        assert repr(got) == repr(value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_value_of_any_protocol(protocol, server, manager):
    value = [Point(1, 2), Pair(3, {4}), Colour.GREEN, b"bytes", bytearray(b"more"), {5: frozenset([6])}]
    d = manager.dict()
    with connection.Client(server.where, authkey=KEY) as conn:
        for request in ((None, "accept_connection", ("test",), {}), (d._id, "__setitem__", ("x", value), {})):
            conn.send_bytes(pickle.dumps(request, protocol))
            assert conn.recv() == ("#RETURN", None)
    assert d["x"] == value


def test_numbers_of_numpy(manager):
    numpy = pytest.importorskip("numpy")
    d = manager.dict()
    array = numpy.arange(100_000, dtype="float64").reshape(100, 1000)
    d["array"], d["number"], d[numpy.int64(5)] = array, numpy.float32(1.5), "key"
    assert (d["array"] == array).all()
    assert d["number"] == numpy.float32(1.5)
    assert d[numpy.int64(5)] == "key"
    numbers = manager.list([array[0], numpy.int64(7)])
    assert numbers.index(numpy.int64(7)) == 1
    assert (numbers[0] == array[0]).all()


def test_values_travel_between_pythons(server):
    versions = sorted(PYTHONS, key=lambda version: int(version.partition(".")[2]))
    found = [PYTHONS[version] for version in versions] or [sys.executable]
    oldest, newest = found[0], found[-1]
    for writer, reader in ((oldest, newest), (newest, oldest)):
        run_python(writer, "-c", CLIENT, *server.where, "write")
        run_python(reader, "-c", CLIENT, *server.where, "read")


def test_one_object_in_two_places_of_a_value_stays_one(manager):
    d, shared = manager.dict(), Point([], 1)
    d["x"] = [shared, {"again": shared}, shared.x]
    got = d["x"]
    assert got[0] is got[1]["again"]
    assert got[2] is got[0].x


def test_users_objects_are_equal_by_what_they_say(manager):
    numbers = manager.list([Point(1, 2), Pair(1, 2), Colour.RED, Point(1, 2)])
    assert Point(1, 2) in numbers
    assert Point(2, 1) not in numbers
    assert numbers.count(Point(1, 2)) == 2
    assert numbers.index(Colour.RED) == 2
    numbers.remove(Pair(1, 2))
    assert numbers[:] == [Point(1, 2), Colour.RED, Point(1, 2)]
    members = manager.set([Point(1, 2), Point(1, 2), Colour.RED])
    assert len(members) == 2
    assert members - {Colour.RED} == {Point(1, 2)}


def test_how_users_objects_are_shown(manager):
    shown = str(manager.list([Point(1, "x"), Colour.RED, [Pair(1, 2)]]))
    assert "tests.stdlib.things.Point(x=1, y='x')" in shown
    assert "Colour" in shown


def test_names_are_kept_between_clients(server, program):
    writer = program("m.get_dict('kept')['point'] = [1, 2]; say('done')")
    assert writer.hear() == "done"
    assert writer.end() == 0
    assert server.manager(Named).get_dict("kept")["point"] == [1, 2]
