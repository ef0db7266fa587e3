"""Roles: what each key may, in the dispatcher and in both protocols' sides."""

from __future__ import annotations

import pickle

import pytest
from tests.contract.wired_rig import Wire, WiredRig
from tests.unit.dispatch.asking import NEW

from mpserve.dispatch.dispatcher import Limits
from mpshared import errors
from mpshared.ops import BY_CODE, BY_NAME
from mpshared.wire.own.frames import Type

A = pickle.dumps("a")


@pytest.fixture(params=["memory", "later"])
def rig(request):
    rig = WiredRig(request.param, 1, Limits(admins=True))
    yield rig
    rig.finish()


@pytest.fixture
def thread_of(rig):
    """Make a program with a role's key, and return its thread."""

    def make(access):
        rig.access = access
        return rig.thread()

    return make


def refused(error, has, needed):
    assert isinstance(error, errors.NotAllowed)
    assert error.fields["needs"] == needed
    assert f"needs the {needed} key, and this program has the {has} key" in str(error)
    return True


OBSERVED = {op.name for op in BY_CODE.values() if op.role == "observe"}
OPERATED = {op.name for op in BY_CODE.values() if op.role == "admin"}


def test_what_needs_which_key():
    looking = ("status", "describe", "why", "count", "list_objects")
    assert {f"cluster.{name}" for name in looking} == OBSERVED
    assert {
        *("cluster.delete", "cluster.release", "cluster.shutdown"),
        *("queue.clear", "queue.dead_requeue", "queue.dead_drop"),
    } == OPERATED


@pytest.mark.parametrize("name", sorted(BY_NAME.keys() - OBSERVED))
def test_an_observer_uses_nothing(name):
    rig = WiredRig("memory", 1, Limits(admins=True))
    rig.access = "observe"
    op = BY_NAME[name]
    assert refused(rig.thread().fails(name, "" if op.kind == "cluster" else "an object"), "observe", op.role)
    assert not rig.stopped


def test_an_observer_sees_what_there_is(thread_of):
    maker = thread_of("client")
    maker.ask("cluster.open", "", "dict", "box", {}, False, None)
    observer = thread_of("observe")
    assert observer.ask("cluster.count", "") == 1
    assert [each["name"] for each in observer.ask("cluster.list_objects", "")] == ["box"]
    assert [each["name"] for each in observer.ask("cluster.status", "")["objects"]] == ["box"]
    observer.ask("cluster.why", "", None, None)


def test_a_refusal_says_which_object(thread_of):
    client, observer = thread_of("client"), thread_of("observe")
    queue = client.ask("cluster.open", "", "queue", "jobs", {}, False, None)[0]
    error = observer.fails("cluster.open", "", "queue", "jobs", {}, False, None)
    assert "cluster.open of queue 'jobs' needs the client key" in str(error)
    assert "--authkey-file" in str(error)
    assert "queue.get of queue 'jobs' needs" in str(observer.fails("queue.get", queue, 0, False))
    assert "queue.clear of queue 'jobs' needs the admin key" in str(client.fails("queue.clear", queue))
    assert "--admin-key-file" in str(client.fails("queue.clear", queue))


class TestClients:
    def test_they_use_objects(self, thread_of, rig):
        client = thread_of("client")
        queue = rig.open(client, "queue")
        client.ask("queue.put", queue, None, blobs=[A])
        assert client.out("queue.get", queue, 0, False) == [A]

    @pytest.mark.parametrize("name", sorted(OPERATED - {"cluster.delete"}))
    def test_they_are_no_operators(self, name, thread_of, rig):
        client = thread_of("client")
        client.ask("cluster.open", "", "queue", "jobs", {}, False, None)
        target = "" if name.startswith("cluster") else rig.open(client, "queue")
        assert refused(
            client.fails(name, target, *([] if target or "release" not in name else ["x", None])),
            "client",
            "admin",
        )
        assert not rig.stopped

    def test_they_delete_what_they_made(self, thread_of):
        client, other = thread_of("client"), thread_of("client")
        client.ask("cluster.open", "", "dict", "box", {}, False, None)
        other.ask("cluster.open", "", "dict", "box", {}, False, None)
        assert refused(other.fails("cluster.delete", "", "box", None), "client", "admin")
        assert client.ask("cluster.delete", "", "box", None) is True

    def test_they_delete_what_there_is_not(self, thread_of):
        assert thread_of("client").ask("cluster.delete", "", "nothing", None) is False

    def test_a_name_that_several_have_is_told_as_ever(self, thread_of):
        client = thread_of("client")
        for kind in ("dict", "list"):
            client.ask("cluster.open", "", kind, "box", {}, False, None)
        assert isinstance(client.fails("cluster.delete", "", "box", None), errors.Conflict)
        assert client.ask("cluster.delete", "", "box", "list") is True

    @pytest.mark.parametrize("args", [[], [None, None], [1, 2], ["a", None, None]])
    def test_a_delete_that_makes_no_sense_is_told_as_ever(self, thread_of, args):
        error = thread_of("client").fails("cluster.delete", "", *args)
        assert isinstance(error, errors.BadType | errors.BadValue)

    def test_they_begin_anew_whoever_made_it(self, thread_of):
        client, other = thread_of("client"), thread_of("client")
        client.ask("cluster.open", "", "dict", "box", {}, False, None)
        other.ask("cluster.open", "", "dict", "box", {}, True, None)
        assert other.ask("cluster.delete", "", "box", None) is True

    def test_an_admin_does_everything(self, thread_of, rig):
        client, admin = thread_of("client"), thread_of("admin")
        queue = client.ask("cluster.open", "", "queue", "jobs", {}, False, None)[0]
        client.ask("queue.put", queue, None, blobs=[A])
        assert admin.ask("queue.clear", queue) == 1
        assert admin.ask("cluster.delete", "", "jobs", None) is True
        assert admin.ask("cluster.shutdown", "") is None
        assert rig.stopped

    def test_not_even_where_shutdown_is_allowed(self):
        rig = WiredRig("memory", 1, Limits(admins=True, allow_shutdown=True))
        assert refused(rig.thread().fails("cluster.shutdown", ""), "client", "admin")
        assert not rig.stopped


def test_without_an_admin_key_clients_do_everything():
    rig = WiredRig("memory", 1)
    client = rig.thread()
    queue = client.ask("cluster.open", "", "queue", "jobs", {}, False, None)[0]
    assert client.ask("queue.clear", queue) == 0
    assert rig.thread().ask("cluster.delete", "", "jobs", None) is True
    rig.access = "observe"
    assert refused(rig.thread().fails("cluster.delete", "", "jobs", None), "observe", "client")
    rig.finish()


class TestSides:
    def attach(self, rig, access, body):
        rig.access = access
        wire = Wire(rig)
        wire.control(Type.ATTACH, body=body)
        wire.carry()
        return wire

    @pytest.mark.parametrize("access", ["observe", "admin"])
    def test_a_lane_joins_by_a_key_of_the_same_role_only(self, rig, access):
        program = rig.program()
        body = {"session": program.id, "secret": program.secret, "lane": 9}
        [error] = self.attach(rig, access, body).errors
        assert refused(error, access, "client")
        wire = self.attach(rig, "client", body)
        assert not wire.errors
        assert not wire.closed

    def test_nor_is_a_session_given_up_by_another_role(self, rig):
        program = rig.program()
        body = {"new": NEW, "before": {"session": program.id, "secret": program.secret}}
        [error] = self.attach(rig, "observe", body).errors
        assert refused(error, "observe", "client")
        assert rig.engine.find_session(program.id) is not None

    @pytest.mark.parametrize("role", ["worker", "supervisor", "process"])
    def test_an_observer_is_no_worker(self, rig, role):
        [error] = self.attach(rig, "observe", {"new": NEW | {"role": role}}).errors
        assert refused(error, "observe", "client")

    def test_an_observer_prints_for_nobody(self, rig):
        program = rig.program()
        wire = self.attach(rig, "observe", {"new": NEW})
        assert not wire.closed
        wire.control(Type.OUTPUT, number=1, body=[program.id, []])
        wire.carry()
        assert refused(wire.errors[0], "observe", "client")
        assert wire.closed


def test_a_session_of_before_a_restart_gets_the_role_of_who_comes_back(rig):
    program = rig.program()
    session = rig.engine.find_session(program.id)
    session.access = None
    rig.access = "observe"
    wire = Wire(rig)
    wire.control(Type.ATTACH, body={"session": program.id, "secret": program.secret, "lane": 9})
    wire.carry()
    assert session.access == "observe"
    assert {lane.rank for lane in session.lanes.values()} == {0}
