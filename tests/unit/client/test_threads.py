"""What threads share: another one comes between any two steps of one, and nothing is lost or raised.

`at_each_step` stands for it: it does in the middle of a function, at each bytecode in turn, what another
thread might do there.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from itertools import count

import pytest

from mpclient.aio.pipes import _give_back
from mpclient.pooling.flow import Flow
from mpclient.pooling.outcomes import JobCancelled
from mpclient.pooling.results import Stream
from mpclient.transport.living import Living
from mpclient.transport.references import References


class Interrupted:
    """Does something at one step of what runs within it."""

    def __init__(self, step, meanwhile):
        self._left = step
        self._meanwhile = meanwhile
        self.done = False

    def __enter__(self):
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def _trace(self, frame, event, _arg):
        frame.f_trace_opcodes = True
        if event == "opcode" and not self.done:
            if not self._left:
                self.done = True
                sys.settrace(None)
                self._meanwhile()
                sys.settrace(self._trace)
            self._left -= 1
        return self._trace


def at_each_step(scene):
    """Play a scene, which yields (what to do, what another thread does meanwhile), once for each step."""
    for step in count():
        play = scene()
        run, meanwhile = next(play)
        interrupted = Interrupted(step, meanwhile)
        with interrupted:
            run()
        if not interrupted.done:  # there were fewer steps: it comes last
            meanwhile()
        assert next(play, None) is None
        if not interrupted.done:
            return step
    raise AssertionError("without end")


@pytest.fixture
def steps():
    played = []
    yield lambda scene: played.append(at_each_step(scene))
    assert min(played) > 3, "nobody came in between"


class Session:
    """Counts how often its keeper was woken."""

    def __init__(self):
        self.woken = 0

    def wake(self):
        self.woken += 1


def references_of(*idents):
    references = References(Session())
    return references, [references.claim(ident) for ident in idents]


def test_all_that_live_are_told_while_others_begin(steps):
    def scene():
        living, kept = Living(), [SimpleSession() for _ in range(3)]
        for one in kept:
            living.add(one)
        told = []

        def begin():
            kept.append(SimpleSession())
            living.add(kept[-1])

        yield lambda: told.extend(living.all()), begin
        assert set(kept[:3]) <= set(told) <= set(kept)
        del kept[0], told[:]
        assert set(living.all()) == set(kept)

    steps(scene)


class SimpleSession:
    """Something that lives."""


def test_all_that_is_held_is_lent_while_others_claim(steps):
    def scene():
        references, held = references_of("a", "b", "c")
        yield references.lend_all, lambda: held.append(references.claim("d"))
        lent = references.take_lent()
        assert set(lent) >= {"a", "b", "c"}
        assert all(handle.lent for handle in held[:3])

    steps(scene)


@pytest.mark.parametrize("other", ["takes", "clears"])
def test_what_was_lent_is_told_once_whoever_takes_it(steps, other):
    def scene():
        references, _held = references_of("a", "b", "c")
        references.lend_all()
        told = []

        def take():
            while lent := references.take_lent():
                told.extend(lent)

        yield take, take if other == "takes" else references._lent.clear
        assert Counter(told) <= Counter("abc")
        assert other == "clears" or Counter(told) == Counter("abc")

    steps(scene)


def test_what_was_dropped_is_told_once_whoever_takes_it(steps):
    def scene():
        references, _ = references_of()
        for ident in "abca":
            references.let_go(ident, 2)
        told = Counter()

        def take():
            while dropped := references.take_dropped():
                told.update(dict(dropped))

        yield take, take
        assert told == {"a": 4, "b": 2, "c": 2}

    steps(scene)


def test_the_keeper_is_woken_for_what_two_drop_at_once(steps):
    def scene():
        references, _ = references_of()
        yield lambda: references.let_go("a", 1), lambda: references.let_go("b", 1)
        assert references._session.woken
        assert sorted(references.take_dropped()) == [["a", 1], ["b", 1]]

    steps(scene)


def test_an_end_that_was_lent_is_told_so_before_it_is_given_back():
    references, (handle,) = references_of("a")
    calls = []
    references._session.call = lambda op, _target, args: calls.append((op.name, args))
    handle.lend()
    assert references.take_lent() == ["a"]  # the keeper has it, and may be slow
    handle.give_back()
    handle.give_back()
    assert calls == [("cluster.lend", [["a"]]), ("cluster.drop", [[["a", 1]]])]


def test_an_end_that_was_lent_is_given_back_although_the_task_is_cancelled_meanwhile():
    references, (handle,) = references_of("a")
    handle.lend()
    calls = []

    async def call(op, _target, _args, *, finish):
        assert finish
        calls.append(op.name)
        if len(calls) == 1:
            raise asyncio.CancelledError

    references._session.call = call
    references._session.references = references
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(_give_back(handle))
    assert calls == ["cluster.lend", "cluster.drop"]


class Jobs:
    """Takes what a flow tells its pool."""

    def __init__(self):
        self.given_back = []
        self.give_back = self.given_back.append

    def add(self, flow):
        """Nothing is done with it."""

    def ring(self, source):
        source.rung = True


def test_what_is_made_while_a_stream_is_cancelled_is_dropped_too(steps):
    def scene():
        jobs, stream = Jobs(), Stream(ordered=True)
        flow = Flow(jobs, stream, (), lent="digest")
        for _ in range(3):
            flow._offer(b"job")
        yield lambda: flow.cancel(JobCancelled("nobody waits")), lambda: flow._offer(b"late")
        assert flow.take() is None
        assert not flow.has_waiting
        assert jobs.given_back == ["digest"]
        with pytest.raises(JobCancelled, match="nobody waits"):
            stream.wait(None, TimeoutError)

    steps(scene)
