"""Worker processes run jobs of pools: shapes, failures, functions, initializers, limits, shipped modules."""

from __future__ import annotations

import gc
import importlib
import operator
import os
import sys
import threading
import weakref
from functools import partial
from multiprocessing.pool import MaybeEncodingError, RemoteTraceback  # type: ignore[attr-defined]

import pytest
from tests.integration import raw_pools, workers
from tests.integration.conftest import ROOT
from tests.integration.raw_pools import RawPool

from mpclient import testing
from mpclient.values.jobs_format import CALL, Shipped
from mpshared.errors import NoWorkers, TaskError, WorkerDied

mpworker = workers.mpworker
pool = raw_pools.pool
pytestmark = pytest.mark.hosts


@pytest.fixture
def host(mpworker, server, unique):
    """One worker host, ready, with one process."""
    return mpworker(server, queue=unique).ready()


@pytest.mark.usefixtures("host")
def test_the_three_shapes(pool):
    pool = pool()
    pool.call(int, "ff", base=16)
    pool.map(str, [1, 2, 3], [4])
    pool.starmap(operator.sub, [(5, 3), (1, 1)])
    assert pool.collect(4) == {1: 255, 2: ["1", "2", "3"], 3: ["4"], 4: [2, 0]}


@pytest.mark.usefixtures("host")
def test_many_tiny_jobs(pool):
    pool = pool()
    digest = pool.teach(operator.neg)
    pool.submit([(CALL, digest, (number,), {}) for number in range(5000)])
    assert pool.collect(5000) == {number + 1: -number for number in range(5000)}


@pytest.mark.usefixtures("host")
def test_code_by_value_and_shared_objects_travel_both_ways(pool, cluster):
    pool = pool()
    shared = cluster.dict(a=1)
    offset = 7

    class Local(Exception):
        pass

    def job(mapping, n):
        mapping["b"] = n + offset
        if n > 1:
            raise Local(mapping)
        return mapping, lambda: offset

    pool.call(job, shared, 1)
    mapping, function = pool.result()
    assert (function(), mapping == shared, shared["b"]) == (7, True, 8)
    pool.call(job, shared, 2)
    with pytest.raises(Local) as caught:
        pool.result()
    assert caught.value.args[0]["b"] == 9
    assert isinstance(caught.value.__cause__, RemoteTraceback)


def test_failures_are_results_and_the_worker_goes_on(host, pool):
    pool = pool()
    pid = pool.call(os.getpid) and pool.result()
    pool.call(int, "none")
    pool.call(sys.exit, 3)
    pool.call(threading.Lock)
    pool.submit([(CALL, "0" * 32, (), {})])
    pool.call(os.getpid)
    *failed, last = pool.collect(5).values()
    assert [type(one) for one in failed] == [ValueError, SystemExit, MaybeEncodingError, TaskError]
    assert "was never taught" in str(failed[3])
    assert last == pid
    assert sum(line["jobs"] for line in host.wait_for("job.failed")) >= 1


@pytest.mark.usefixtures("host")
def test_a_result_that_is_too_big_is_a_failure(pool, cluster):
    pool = pool()
    size = cluster.session.start().max_message_bytes
    pool.call(bytes, size)
    with pytest.raises(TaskError, match=r"job 1 of pool '.*' answered .* more than the server takes"):
        pool.result()


@pytest.mark.usefixtures("host")
def test_recipe_jobs_and_pools_are_served_side_by_side(pool, cluster, unique):
    tasks, results = cluster.JoinableQueue(name=unique), cluster.Queue(name=f"{unique} results")
    pool = pool()
    digest = pool.teach(operator.neg)
    for number in range(100):
        pool.submit([(CALL, digest, (number,), {})])
        tasks.put(partial(operator.neg, number))
    assert tasks.join(timeout=20)
    assert pool.collect(100)[100] == -99
    assert results.get_many(200) == [-number for number in range(100)]


def test_what_jobs_print_is_there_before_their_results(host, program):
    source = """
from tests.integration.raw_pools import RawPool
pool = RawPool(cluster)
def job(n):
    print("job", n)
    sys.stdout.write("no end")
pool.equip(initializer=pool.teach((print, ("ready",))))
for n in range(3):
    pool.call(job, n)
    pool.result()
    print("result", n)
"""
    said = program(source, environment={"PYTHONPATH": str(ROOT)}).finish()
    assert said.split("\n") == [
        "ready",
        "job 0",
        "no endresult 0",
        "job 1",
        "no endresult 1",
        "job 2",
        "no endresult 2",
    ]
    assert host.events("worker.output") == []


# -- initializers ---------------------------------------------------------------------------------


def test_an_initializer_runs_once_in_each_process(host, pool, cluster):
    said = cluster.list()

    def initialize(word):
        said.append((word, os.getpid()))

    first, second = pool(), pool()
    for one in (first, second):
        one.equip(name="Pool-1", initializer=one.teach((initialize, ("hello",))))
    for _ in range(3):
        for one in (first, second):
            one.call(os.getpid)
            pid = one.result()
    assert list(said) == [("hello", pid), ("hello", pid)]
    assert host.events("worker.ended") == []


MAIN = """
from tests.integration.raw_pools import RawPool

counter = None
settings = {}

class Scale:
    def __init__(self, factor):
        self.factor = factor
    def times(self, n):
        return scale.factor * n

def set_up(n):
    global counter, scale
    counter = n
    settings["made"] = True
    scale = Scale(n)

def helper():
    return counter

def job():
    global counter
    counter += 1
    return helper(), settings, isinstance(scale, Scale)

pool = RawPool(cluster)
pool.equip(initializer=pool.teach((set_up, (5,))))
pool.call(job)
print(pool.result())
pool.call(job)
print(pool.result())
pool.call(Scale(2).times, 3)
print(pool.result())
other = RawPool(cluster)
other.call(helper)
print(other.result())
"""


@pytest.mark.usefixtures("host")
def test_what_an_initializer_leaves_in_globals_is_there_for_its_functions(program):
    said = program(MAIN, environment={"PYTHONPATH": str(ROOT)}).finish()
    assert said.split("\n") == ["(6, {'made': True}, True)", "(7, {'made': True}, True)", "15", "None"]


@pytest.mark.usefixtures("host")
def test_what_an_initializer_made_goes_with_its_pool(pool, cluster):
    class Model:
        pass

    def load():
        globals()["model"] = Model()
        vars(sys)["model"] = weakref.ref(globals()["model"])

    def is_there():
        gc.collect()
        return vars(sys)["model"]() is not None

    first, second = pool(), pool()
    first.equip(initializer=first.teach((load, ())))
    first.call(is_there)
    assert first.result() is True
    first.close()
    testing.wait_until(lambda: all(one["ident"] != first.ident for one in cluster.status()["objects"]))
    second.call(is_there)
    assert second.result() is False


def test_an_initializer_that_fails_is_the_result_of_each_job(host, pool):
    pool = pool()

    def initialize(_thing):
        raise ValueError("not today")

    pool.equip(name="Pool-7", initializer=pool.teach((initialize, (1,))))
    pool.map(str, [1], [2], [3])
    for err in pool.collect(3).values():
        assert isinstance(err, TaskError)
        assert "initialize, the initializer of pool 'Pool-7', failed on" in err.text
        assert "ValueError: not today" in err.text
        assert "in initialize" in err.traceback
        assert "mpclient" not in err.traceback
        assert err.fields["initializer"].endswith("initialize")
    assert host.events("worker.died") == []


def test_an_initializer_that_kills_its_process_ends_in_results_too(host, pool):
    pool = pool(max_attempts=2)
    pool.equip(initializer=pool.teach((os._exit, (7,))))
    pool.call(str)
    with pytest.raises(WorkerDied, match="gone with exit code 7"):
        pool.result()
    assert len(host.wait_for("worker.died", 2)) == 2


def test_a_process_with_an_initializer_serves_no_other_program(host, pool, program):
    pool = pool()
    pool.equip(initializer=pool.teach((setattr, (sys, "mark", "theirs"))))
    pool.call(getattr, sys, "mark", None)
    assert pool.result() == "theirs"
    other = program(OTHER, environment={"PYTHONPATH": str(ROOT)})
    assert other.finish() == "None"
    host.wait_for("worker.ended", why="used by another program")
    pool.call(getattr, sys, "mark", None)
    assert pool.result() == "theirs"


OTHER = """
from tests.integration.raw_pools import RawPool
pool = RawPool(cluster)
pool.call(getattr, sys, "mark", None)
print(pool.result())
"""


def test_nor_recipe_jobs(host, pool, cluster, unique):
    tasks, results = cluster.JoinableQueue(name=unique), cluster.Queue(name=f"{unique} results")
    pool = pool()
    pool.equip(initializer=pool.teach((str, ())))
    pool.call(os.getpid)
    dirty = pool.result()
    tasks.put(os.getpid)
    assert results.get(timeout=20) != dirty
    host.wait_for("worker.ended", why="used by another program")


# -- limits ---------------------------------------------------------------------------------------


def test_max_tasks_counts_jobs_and_a_chunk_is_one(host, pool):
    pool = pool(max_tasks=2)
    pool.map(lambda _: os.getpid(), *[[1, 2, 3]] * 6)
    pids = [pid for chunk in pool.collect(6).values() for pid in chunk]
    assert sorted(pids.count(pid) for pid in set(pids)) == [6, 6, 6]
    assert len(host.wait_for("worker.ended", 3, why="max tasks")) == 3


def test_processes_bounds_how_many_work_at_once(mpworker, server, unique, pool, cluster):
    mpworker(server, queue=unique, processes=3).ready()
    begun, gate = cluster.Queue(), cluster.Event()

    def job():
        begun.put(os.getpid())
        gate.wait()

    bounded, other = pool(processes=2), pool()
    digest = bounded.teach(job)
    bounded.submit([(CALL, digest, (), {})] * 4)
    pids = {begun.get(timeout=10) for _ in range(2)}
    other.call(os.getpid)
    assert other.result() not in pids
    (told,) = (one for one in cluster.status()["objects"] if one["ident"] == bounded.ident)
    # A worker that takes a busy machine for a far one has the next job at hand, but does not begin it.
    assert (begun.qsize(), told["leased"] + told["ready"]) == (0, 4)
    gate.set()
    assert set(bounded.collect(4).values()) == {None}


# -- code -----------------------------------------------------------------------------------------


def test_shipped_modules_are_found_and_never_stale(host, pool):
    pool = pool()

    def job():
        shop = importlib.import_module("mpserve_shipped_shop")
        till = importlib.import_module("mpserve_shipped_shop.till")
        return shop.NAME, till.VALUE, os.getpid()

    def ship(name, value):
        shop = pool.teach_source(f"NAME = {name!r}", "/far/mpserve_shipped_shop/__init__.py")
        till = pool.teach_source(f"VALUE = {value}", "/far/mpserve_shipped_shop/till.py")
        pool.equip(
            shipped=(
                Shipped("mpserve_shipped_shop", shop, True),
                Shipped("mpserve_shipped_shop.till", till, False),
            )
        )

    ship("first", 1)
    pool.call(job)
    *found, pid = pool.result()
    assert found == ["first", 1]
    ship("first", 2)
    pool.call(job)
    *found, other = pool.result()
    assert found == ["first", 2]
    assert pid != other
    pool.call(job)
    assert pool.result()[2] == other
    host.wait_for("worker.ended", why="used by another program")


@pytest.mark.usefixtures("host")
def test_arguments_of_an_initializer_may_be_of_a_shipped_module(pool, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    source = "class Tool: ...\n\ndef f(tool):\n    import sys\n    sys.tool = type(tool).__module__\n"
    (here / "mpserve_shipped_tool.py").write_text(source)
    monkeypatch.syspath_prepend(here)
    tool = importlib.import_module("mpserve_shipped_tool")
    pool = pool()
    pool.equip(
        initializer=pool.teach((tool.f, (tool.Tool(),))),
        shipped=(Shipped("mpserve_shipped_tool", pool.teach_source(source), False),),
    )
    pool.call(getattr, sys, "tool", None)
    assert pool.result() == "mpserve_shipped_tool"


@pytest.mark.usefixtures("host")
def test_a_module_that_the_worker_itself_needs_cannot_be_shipped(pool):
    pool = pool()
    pool.equip(shipped=(Shipped("msgpack", pool.teach_source("x = 1"), False),))
    pool.call(str)
    with pytest.raises(TaskError, match="ships a module 'msgpack'"):
        pool.result()


@pytest.fixture
def other_python():
    """Version and path of a second Python."""
    others = workers.other_pythons()
    if not others:
        pytest.skip("no second Python (MPSERVE_TEST_PYTHONS)")
    return next(iter(others.items()))


@pytest.fixture
def quiet_server(fresh_server):
    """A server that no worker of another test is known at."""
    return fresh_server()


def test_code_by_value_goes_to_its_own_python_only(mpworker, quiet_server, other_python):
    version, python = other_python
    mpworker(quiet_server, python=python).ready()
    with quiet_server.connect() as cluster:
        first = RawPool(cluster)
        first.call(operator.neg, 3)
        assert first.result() == -3
        with pytest.raises(NoWorkers, match=rf"have Python {version}"):
            first.call(lambda: sys.version_info[:2])
        mpworker(quiet_server).ready()
        second = RawPool(cluster)
        digest = second.teach(lambda: sys.version_info[:2])
        second.submit([(CALL, digest, (), {})] * 20)
        assert set(second.collect(20).values()) == {sys.version_info[:2]}


def test_a_pool_that_was_refused_serves_other_jobs_and_later_that_one(mpworker, quiet_server, other_python):
    version, python = other_python
    mpworker(quiet_server, python=python).ready()
    with quiet_server.connect() as cluster, cluster.Pool() as pool:

        def here(*_):
            return sys.version_info[:2]

        for ask in (pool.apply, pool.apply_async):
            with pytest.raises(NoWorkers, match=rf"have Python {version}"):
                ask(here)
        with pytest.raises(NoWorkers, match=rf"have Python {version}"):
            pool.map(here, [1, 2, 3])
        assert pool.map(operator.neg, [1, 2, 3]) == [-1, -2, -3]
        mpworker(quiet_server).ready()
        assert pool.map(here, range(9)) == [sys.version_info[:2]] * 9


def test_code_by_value_that_only_another_python_could_run_fails_clearly(mpworker, quiet_server, other_python):
    version, python = other_python
    with quiet_server.connect() as cluster:
        pool = RawPool(cluster)
        pool.call(lambda: None)
        mpworker(quiet_server, python=python)
        with pytest.raises(TaskError, match=rf"holds code from Python .* and this is a Python {version}"):
            pool.result()
