"""Objects by name, as recipes with `BaseManager.register` use them."""

import queue
from multiprocessing.managers import BaseManager, BaseProxy, DictProxy, ListProxy, RemoteError

import pytest
from tests.stdlib.conftest import WAIT_S, run_python
from tests.stdlib.named import KINDS, Named
from tests.stdlib.steps import Thread

pytestmark = pytest.mark.stock

DOCUMENTED = """
import os, sys
from multiprocessing import current_process
from multiprocessing.managers import BaseManager
class QueueManager(BaseManager): pass
QueueManager.register("get_queue")
m = QueueManager(address=(sys.argv[1], int(sys.argv[2])), authkey=os.environ["MPSERVE_AUTHKEY"].encode())
m.connect()
queue = m.get_queue()
if sys.argv[3] == "put":
    queue.put("hello")
else:
    print(queue.get(timeout=20))
"""


def test_the_recipe_of_the_documentation(python, server):
    run_python(python, "-c", DOCUMENTED, *server.where, "put")
    assert run_python(python, "-c", DOCUMENTED, *server.where, "get") == "hello\n"


@pytest.mark.parametrize("kind", KINDS)
def test_two_clients_open_the_same_object(kind, server):
    first = getattr(server.manager(Named), "get_" + kind)()
    second = getattr(server.manager(Named), "get_" + kind)()
    assert first._id == second._id
    assert isinstance(first, BaseProxy)


def test_names_of_kinds_and_defaults_are_kept_apart(server):
    m = server.manager(Named)
    idents = [
        m.get_queue()._id,
        m.get_queue("other")._id,
        m.get_queue(name="third")._id,
        m.get_dict("other")._id,
    ]
    assert len(set(idents)) == 4
    assert m.get_queue("default")._id == idents[0]
    assert m.get_queue("tasks")._id == m.get_tasks()._id == m.get_joinable_queue("tasks")._id
    assert m.get_queue("results")._id == m.get_results()._id


@pytest.mark.parametrize("name", ["", 5, None, "mpserve.own", "a\nb", "x" * 201])
def test_a_name_is_checked(name, server):
    with pytest.raises(RemoteError, match="name"):
        server.manager(Named).get_queue(name)


def test_named_objects_outlive_their_clients(server, request):
    m = server.manager(Named)
    m.get_dict(request.node.name).update({"kept": 1})
    del m
    assert server.manager(Named).get_dict(request.node.name).get("kept") == 1


def test_a_producer_and_a_consumer(server, program, request):
    name = request.node.name
    consumer = program(f"""
q = m.get_joinable_queue({name!r})
results = m.get_queue({name + "-results"!r})
for item in iter(q.get, None):
    results.put((item, item * item))
    q.task_done()
q.task_done()
""")
    m = server.manager(Named)
    q, results = m.get_joinable_queue(name), m.get_queue(name + "-results")
    for number in range(20):
        q.put(number)
    q.put(None)
    q.join()
    assert consumer.end() == 0
    assert [results.get(timeout=WAIT_S) for _ in range(20)] == [(n, n * n) for n in range(20)]


def test_proxies_made_by_the_manager_do_what_the_object_does(server):
    m = server.manager(Named)
    d, numbers, members = m.get_dict("d"), m.get_list("l"), m.get_set("s")
    d["x"] = 1
    d.update(y=2)
    assert (d["x"], len(d), "y" in d, d.copy()) == (1, 2, True, {"x": 1, "y": 2})
    numbers.extend([3, 1, 2])
    numbers.sort()
    assert (numbers[0], numbers[1:], len(numbers)) == (1, [2, 3], 3)
    members.add(1)
    assert members | {2} == {1, 2}
    namespace = m.get_namespace("n")
    namespace.x = 5
    assert m.get_namespace("n").x == 5
    with pytest.raises(queue.Empty):
        m.get_queue("empty").get_nowait()


def test_proxies_of_classes_of_the_standard_library(server):
    class Typed(BaseManager):
        pass

    Typed.register("get_dict", proxytype=DictProxy)
    Typed.register("get_list", proxytype=ListProxy)
    m = server.manager(Typed)
    d, numbers = m.get_dict("typed"), m.get_list("typed")
    d["list"] = numbers
    numbers += [1, 2]
    numbers *= 2
    assert isinstance(numbers, ListProxy)
    assert list(d["list"]) == [1, 2, 1, 2]
    assert list(d.keys()) == ["list"]


def test_a_namespace_whose_proxy_was_not_registered(server):
    """Its AutoProxy can do nothing, but what it is put into gives a real one."""

    class Untyped(BaseManager):
        pass

    Untyped.register("get_namespace")
    m = server.manager(Named)
    m.get_namespace("untyped").x = 5
    d = m.dict(it=server.manager(Untyped).get_namespace("untyped"))
    assert d["it"].x == 5


def test_in_place_operators_on_proxies_made_by_the_manager_give_copies(server):
    """As the standard library's: its AutoProxy takes the answer for the new object."""
    numbers = server.manager(Named).get_list("in place")
    kept = numbers
    numbers += [1]
    assert numbers == [1]
    assert kept[:] == [1]


def test_a_kind_that_is_not_served(server):
    class Wrong(BaseManager):
        pass

    Wrong.register("get_nothing")
    with pytest.raises(RemoteError, match="get_queue"):
        server.manager(Wrong).get_nothing()


def test_a_name_that_cannot_be_guessed_is_needed_for_anonymous_objects(server):
    """Idents are random and never come again: a stale proxy finds nothing, and nobody else's object."""
    m = server.manager(Named)
    stale = m.list(["mine"])
    ident = stale._id
    stale._close()
    with pytest.raises(RemoteError, match=ident):
        stale.append(1)
    assert len({m.list()._id for _ in range(20)}) == 20
    assert all(len(m.list()._id) == 16 for _ in range(3))


def test_a_queue_that_was_shut_down_is_clear_to_every_python(python, server, request):
    """Python 3.13 and later have `queue.ShutDown`; earlier ones are told that nothing comes any more."""
    code = """
import os, queue, sys
from multiprocessing import current_process
from tests.stdlib.named import Named
m = Named((sys.argv[1], int(sys.argv[2])), os.environ["MPSERVE_AUTHKEY"].encode())
m.connect()
q = m.Queue()
q.shutdown()
expected = getattr(queue, "ShutDown", EOFError)
for attempt in (q.get, q.get_nowait, lambda: q.put(1)):
    try:
        attempt()
    except expected:
        print("over")
"""
    assert run_python(python, "-c", code, *server.where) == "over\n" * 3


def test_a_condition_on_a_shared_lock(server):
    m = server.manager()
    for lock in (m.Lock(), m.RLock()):
        condition = m.Condition(lock)
        with condition:
            assert Thread(lock.acquire, False).result() is False
            assert condition.wait(0.01) is False
        assert Thread(lock.acquire, False).result() is True
