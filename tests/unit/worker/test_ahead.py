"""The batch ahead: fetched by a thread of its own, put on the desk or handed back, never both."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

import pytest

from mpclient.worker.jobs.ahead import Ahead
from mpclient.worker.jobs.desk import NOTHING, Desk, Finished
from mpshared.errors import Full, NoRoom, ServerGone
from mpshared.wire.own.frames import Reply

LIMIT_S = 10.0
DONE = Finished((1, 2), (b"A", b"B"), ["kept"])
FAR_FUTURE_S = 3600.0


def reply(*runs: list[int], lost: int = 0) -> Reply:
    blobs = [b"job"] * sum(last - first + 1 for first, last, _ in runs)
    return Reply(1, 1, [list(runs), False, [], lost, None, 0], blobs)


class Server:
    """Stands for the exchange: shows what is sent, and answers what it is told to."""

    def __init__(self) -> None:
        self.asked: queue.Queue[tuple[Finished, int, str | None]] = queue.Queue()
        self.answers: queue.Queue[Any] = queue.Queue()

    def ahead(self, finished: Finished, n: int, pool: str | None) -> Reply:
        self.asked.put((finished, n, pool))
        answer = self.answers.get(timeout=LIMIT_S)
        if isinstance(answer, Reply):
            return answer
        raise answer


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def told():
    return []


@pytest.fixture
def attended():
    return threading.Event()


@pytest.fixture
def ahead(server, desk, told, attended):
    def tell(level, event, **fields):
        told.append((level, event, fields))

    return Ahead(server, desk, threading.Lock(), attended.set, tell)


def numbers_of(batch):
    return [(first, last) for first, last, _ in batch.result[0]]


def test_results_leave_and_jobs_come(ahead, server, desk):
    ahead.ask(DONE, 3, 0.0, "pool")
    assert server.asked.get(timeout=LIMIT_S) == (DONE, 3, "pool")
    assert ahead.is_busy
    server.answers.put(reply([3, 4, 1]))
    assert ahead.land(numbers_of) == [(3, 4)]
    assert not ahead.is_busy
    assert ahead.took_s is not None
    assert desk.collect() == NOTHING


def test_nothing_is_there_when_nothing_came(ahead, server):
    ahead.ask(NOTHING, 3, 0.0, None)
    server.asked.get(timeout=LIMIT_S)
    server.answers.put(reply())
    assert ahead.land(numbers_of) is None
    assert ahead.take() == []


def test_results_do_not_wait_for_the_time_to_ask_for_jobs(ahead, server, desk):
    ahead.ask(DONE, 3, time.monotonic() + FAR_FUTURE_S, None)
    assert server.asked.get(timeout=LIMIT_S) == (DONE, 0, None)
    server.answers.put(reply())
    assert ahead.land(numbers_of) is None  # the wish for jobs is withdrawn
    assert server.asked.empty()
    assert desk.collect() == NOTHING


def test_refused_results_lie_on_the_desk_again(ahead, server, desk):
    desk.finish((3, b"C", None))
    ahead.ask(DONE, 3, 0.0, None)
    server.answers.put(Full("no room"))
    server.asked.get(timeout=LIMIT_S)
    assert ahead.land(numbers_of) is None
    assert desk.collect() == Finished((1, 2, 3), (b"A", b"B", b"C"), [["kept"]])


def test_who_is_not_let_in_does_not_try_again(ahead, server, desk):
    ahead.ask(NOTHING, 3, 0.0, None)
    server.answers.put(NoRoom("no connection"))
    server.asked.get(timeout=LIMIT_S)
    assert ahead.land(numbers_of) is None
    ahead.ask(DONE, 3, 0.0, None)
    assert ahead.land(numbers_of) is None
    assert server.asked.empty()
    assert desk.collect().numbers == (1, 2)


def test_the_main_thread_hears_that_the_session_is_over(ahead, server):
    ahead.ask(NOTHING, 3, 0.0, None)
    server.answers.put(ServerGone("over"))
    server.asked.get(timeout=LIMIT_S)
    with pytest.raises(ServerGone):
        ahead.land(numbers_of)


def test_what_is_taken_away_does_not_land(ahead, server, attended):
    ahead.ask(NOTHING, 3, 0.0, None)
    server.answers.put(reply([3, 4, 1], [7, 7, 2]))
    assert attended.wait(LIMIT_S)
    assert ahead.has_batch
    assert ahead.has_waited(-1.0)
    assert not ahead.has_waited(FAR_FUTURE_S)
    assert ahead.take() == [(3, 4), (7, 7)]
    assert ahead.take() == []
    assert ahead.land(numbers_of) is None


def test_closed_it_gives_back_what_is_on_its_way_and_asks_no_more(ahead, server, desk):
    ahead.ask(NOTHING, 3, 0.0, None)
    server.asked.get(timeout=LIMIT_S)
    assert ahead.close(0.0) == []  # it is still on its way
    server.answers.put(reply([3, 4, 1]))
    assert ahead.close() == [(3, 4)]
    ahead.ask(DONE, 3, 0.0, None)
    assert server.asked.empty()
    assert desk.collect().numbers == (1, 2)


def test_what_is_being_handed_back_is_named_to_who_ends_meanwhile(ahead, server, attended):
    ahead.ask(NOTHING, 3, 0.0, None)
    server.answers.put(reply([3, 4, 1]))
    assert attended.wait(LIMIT_S)
    taken = ahead.take()
    assert ahead.close(0.0) == taken == [(3, 4)]
    assert ahead.close(0.0) == taken
    ahead.forget(taken)
    assert ahead.close(0.0) == []


def test_what_a_stop_kept_from_the_desk_is_named_to_who_ends(ahead, server):
    def stopped(_batch):
        raise KeyboardInterrupt

    ahead.ask(NOTHING, 3, 0.0, None)
    server.asked.get(timeout=LIMIT_S)
    server.answers.put(reply([3, 4, 1]))
    with pytest.raises(KeyboardInterrupt):
        ahead.land(stopped)
    assert ahead.close() == [(3, 4)]


def test_what_landed_is_the_desks(ahead, server):
    ahead.ask(NOTHING, 3, 0.0, None)
    server.asked.get(timeout=LIMIT_S)
    server.answers.put(reply([3, 4, 1]))
    ahead.land(numbers_of)
    assert ahead.close() == []


def test_jobs_that_were_not_ours_are_logged(ahead, server, told):
    ahead.ask(DONE, 0, 0.0, None)
    server.asked.get(timeout=LIMIT_S)
    server.answers.put(reply(lost=2))
    ahead.land(numbers_of)
    assert told == [("warning", "worker.jobs_not_ours", {"jobs": 2})]
