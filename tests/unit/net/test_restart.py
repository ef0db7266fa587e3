"""A server that goes on where another one was, in this process, with a clock that stands still."""

from __future__ import annotations

import contextlib
import time

import pytest
from tests.unit.net.stage import RawClient, Stage

GRACE_S, TIMEOUT_S = 0.5, 30.0
LANE = 3


@pytest.fixture
def start(tmp_path):
    """A factory: servers that go on with one folder, one after the other."""
    with contextlib.ExitStack() as stack:

        def start() -> Stage:
            stack.close()
            stage = Stage(data=str(tmp_path / "data"), grace_s=GRACE_S, session_timeout_s=TIMEOUT_S)
            stage.now_s = time.monotonic()  # as it was taken while it began
            stack.callback(stage.close)
            return stage

        yield start


@pytest.fixture
def owner(start):
    """A program of before the restart; one of its threads holds a lock."""
    stage = start()
    program = stage.program()
    lock = program.open("lock", "l")
    thread = stage.client().shake_hands()
    thread.attach(program, LANE)
    assert thread.call("lock.acquire", lock, None, lane=LANE).result
    return program


def lives(stage: Stage, program: RawClient) -> bool:
    return stage.server.engine.find_session(program.session) is not None


def lose(stage: Stage, client: RawClient) -> None:
    count = len(stage.peers)
    client.close()
    stage.until(lambda: len(stage.peers) < count)


def back(stage: Stage, program: RawClient, lane: int) -> RawClient:
    client = stage.client().shake_hands()
    client.attach(program, lane)
    return client


def test_a_thread_that_comes_back_first_and_ends_does_not_end_the_others(start, owner):
    stage = start()
    lose(stage, back(stage, owner, lane=LANE + 1))
    stage.advance(2 * GRACE_S)
    assert lives(stage, owner)
    control = back(stage, owner, lane=0)
    stage.advance(2 * GRACE_S)
    assert lives(stage, owner)
    lose(stage, control)
    stage.advance(2 * GRACE_S)
    assert not lives(stage, owner)


def test_what_does_not_come_back_as_a_whole_ends_with_the_session_timeout(start, owner):
    stage = start()
    lose(stage, back(stage, owner, lane=LANE))
    stage.advance(TIMEOUT_S - GRACE_S)
    assert lives(stage, owner)
    stage.advance(2 * GRACE_S)
    assert not lives(stage, owner)
