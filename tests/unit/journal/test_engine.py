"""The engine with a journal: which answers wait for which commit, written at once or by the thread."""

from __future__ import annotations

import itertools
import queue

import pytest
from tests.unit.journal.flaky import PATIENCE_S, FlakyStore, written

from mpserve.core.calls import Call, SessionInfo
from mpserve.engines.journal import commit
from mpserve.engines.journal.commit import AT_ONCE_BYTES
from mpserve.engines.journal.engine import TOLD_S, JournalEngine
from mpshared.ops import BY_NAME

INFO = SessionInfo(role="program", python=(3, 11))


class World:
    """An engine, the loop's end of it, and lanes that call."""

    def __init__(self, store):
        self.soon = queue.SimpleQueue()
        self.store = store
        idents = (f"id{n}" for n in itertools.count())
        self.engine = JournalEngine(lambda: next(idents), store, self.soon.put)
        self.engine.deliver = self.deliver
        self.engine.tell = lambda *told: self.told.append(told)
        self.engine.revive(0.0)
        self.told = []
        self.answered = []
        self.session = self.engine.start_session("s", INFO, "secret", 0.0)
        self.lanes = [self.session.lane(number) for number in (1, 2, 3)]
        self.call(0, "cluster.open", "", "queue", "q", {}, False, None)
        self.turn()
        [self.queue] = self.engine.catalogue.objects
        self.answered.clear()

    def call(self, lane, name, target, *args, blobs=()):
        lane = self.lanes[lane]
        call = Call(BY_NAME[name], target, list(args), blobs, lane, lane.last_number + 1)
        lane.admit(call)
        if lane.running is None:
            lane.running = call
            self.engine.submit(call, 0.0)
        else:
            lane.wait_behind(call)

    def deliver(self, call):
        told = rows(self) if call.op.writes else call.result
        self.answered.append((call.op.name, told))
        call.lane.running = None
        if call.lane.pending and (following := call.lane.next_call()) is not None:
            self.engine.submit(following, 0.0)

    def put(self, lane, blob=b"x"):
        self.call(lane, "queue.put", self.queue, None, blobs=(blob,))

    def size(self, lane):
        self.call(lane, "queue.qsize", self.queue)

    def turn(self):
        """End turns until nothing is being written."""
        while self.engine.end_turn() or self.engine.is_writing:
            if not self.soon.empty() or self.engine._writing:
                self.soon.get(timeout=PATIENCE_S)()


@pytest.fixture
def store(tmp_path, monkeypatch):
    store = FlakyStore(tmp_path)
    monkeypatch.setattr(commit, "perf_counter", store.clock)
    return store


@pytest.fixture
def world(store):
    world = World(store)
    yield world
    store.gate.set()
    store.failures = 0
    world.engine.close()
    assert not world.engine.committer.is_alive()


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr(commit, "QUICK_S", 0.0)


def rows(world):
    return len(written(world.store))


def test_an_answer_waits_for_its_commit_and_leaves_with_it(world):
    before = rows(world)
    world.put(0)
    assert world.answered == []
    assert not world.engine.end_turn()
    assert world.answered == [("queue.put", before + 1)]


def test_all_who_called_in_a_turn_share_a_commit(world):
    before = rows(world)
    for lane in range(3):
        world.put(lane)
    assert not world.engine.end_turn()
    assert world.answered == [("queue.put", before + 1)] * 3


def test_by_the_thread_they_leave_with_it_too(slow, world):
    before = rows(world)
    world.put(0)
    world.engine.end_turn()
    assert world.answered == []
    world.turn()
    assert world.answered == [("queue.put", before + 1)]


def test_what_is_read_before_a_change_waits_for_nothing(world):
    world.size(0)
    assert world.answered == [("queue.qsize", 0)]
    world.put(1)
    world.size(0)
    assert len(world.answered) == 1
    world.turn()
    assert world.answered[2] == ("queue.qsize", 1)


def test_what_is_read_while_a_change_is_being_written_waits(slow, world):
    world.store.gate.clear()
    world.put(0)
    world.engine.end_turn()
    world.size(1)
    world.engine.end_turn()
    assert world.answered == []
    world.store.gate.set()
    world.turn()
    assert [name for name, _ in world.answered] == ["queue.put", "queue.qsize"]


def test_what_an_answer_leads_to_is_written_after_it_has_left(world):
    before = rows(world)
    for _ in range(3):
        world.put(0)
    assert world.engine.end_turn()
    assert world.answered == [("queue.put", before + 1)]
    world.turn()
    assert world.answered == [("queue.put", before + n) for n in (1, 2, 3)]


def test_who_calls_while_the_thread_writes_shares_the_next_commit(world):
    before = rows(world)
    world.store.gate.clear()
    world.put(0, bytes(AT_ONCE_BYTES))
    world.engine.end_turn()
    for lane in (1, 2):
        world.put(lane)
        assert not world.engine.end_turn()
    assert world.engine.is_writing
    world.store.gate.set()
    world.turn()
    assert world.answered == [("queue.put", before + n) for n in (1, 2, 2)]


def test_the_thread_writes_what_the_disk_refused(world):
    before = rows(world)
    world.store.failures = 2
    world.put(0)
    world.engine.end_turn()
    assert world.answered == []
    world.turn()
    assert world.answered == [("queue.put", before + 1)]


def test_the_log_and_the_status_are_told_of_a_disk_that_refuses(world):
    world.store.failures = 2
    world.put(0)
    world.engine.end_turn()
    while len(world.told) < 2:
        world.soon.get(timeout=PATIENCE_S)()
    (failed, fields), (recovered, _) = world.told
    assert (failed, recovered) == ("journal.failed", "journal.recovered")
    assert fields["why"] == "database or disk is full; make room on the disk of --data"
    assert world.engine.bounds.statistics()["journal"] == ""


def test_a_refusal_waits_for_no_disk(world):
    world.store.failures = 1_000_000
    world.put(0)
    world.engine.end_turn()
    world.soon.get(timeout=PATIENCE_S)()
    world.put(1)
    assert [name for name, _ in world.answered] == ["queue.put"]
    assert world.lanes[0].running is not None
    world.store.failures = 0
    world.turn()
    assert len(world.answered) == 2


def test_a_refusal_has_it_tried_whether_the_disk_has_room_again(world, monkeypatch):
    monkeypatch.setattr(commit, "_fill", lambda _: False)
    world.store.failures = 2
    world.put(0)
    world.turn()
    world.put(1)
    world.turn()
    assert world.engine.committer.failing
    monkeypatch.undo()
    world.put(1)
    while ("journal.recovered", {"changes": "accepted again"}) not in world.told:
        world.soon.get(timeout=PATIENCE_S)()
    assert not world.engine.committer.failing
    before = rows(world)
    world.put(1)
    world.turn()
    assert rows(world) == before + 1


def test_changes_for_which_there_is_no_memory_at_the_turns_end_are_written_at_the_next(world, monkeypatch):
    def no_memory(_):
        raise MemoryError

    before = rows(world)
    world.call(1, "queue.get", world.queue, None, False)
    world.call(0, "cluster.open", "", "queue", "other", {}, False, None)
    monkeypatch.setattr(JournalEngine, "_take_places", no_memory)
    with pytest.raises(MemoryError):
        world.engine.end_turn()
    monkeypatch.undo()
    assert world.answered == []
    world.turn()
    assert world.answered == [("cluster.open", before + 1)]
    verbs = [entry[1] for entry in written(world.store)[-1]]
    assert verbs[0] != "parked"
    assert "parked" in verbs


def test_what_waits_at_the_end_is_written(world):
    before = rows(world)
    world.store.gate.clear()
    world.put(0, bytes(AT_ONCE_BYTES))
    world.engine.end_turn()
    world.put(1)
    world.engine.end_turn()
    world.store.gate.set()
    assert world.engine.close()
    assert rows(world) == before + 2


@pytest.mark.parametrize("failures", [0, 1])
def test_a_disk_that_hangs_costs_nobody_the_session(world, failures):
    world.store.takes_s = 2 * TOLD_S
    world.store.failures = failures
    world.engine.connected(world.session, 0.0)
    world.engine.disconnected(world.session, [], 0.0)
    world.put(0)
    world.turn()
    assert world.told == [("journal.slow", {"took_s": 2 * TOLD_S})]
    world.engine.advance(2 * TOLD_S)
    assert not world.session.ended
    world.engine.advance(4 * TOLD_S)
    assert world.session.ended
