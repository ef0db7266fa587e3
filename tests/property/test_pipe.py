"""A pipe against two lists, while its readers and senders lose connections, give up, and die.

Every message is read once, in the order in which it was sent, but for those that returned: they come first.
"""

from __future__ import annotations

from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.examples import examples
from tests.unit.core.harness import World

from mpserve.core.calls import Lane
from mpserve.core.t_pipe import ROOM_BYTES, Pipe
from mpshared.errors import BrokenPipe, EndOfPipe

SIZES = st.sampled_from([1, 1, 1, ROOM_BYTES + 1])


class Pipes(RuleBasedStateMachine):
    """Two ends, each used by two threads; what is in the pipe is kept in plain lists."""

    def __init__(self):
        super().__init__()
        self.world = World()
        self.serial = count(1)
        first = self.world.add(Pipe)
        self.ends = [first, self.world.add(Pipe, peer=first.ident)]
        self.lanes = [self.world.lane() for _ in range(4)]
        self.away: set[Lane] = set()
        self.closed = [False, False]
        self.lying = [[], []]
        """What should lie in each end's inbox, in order."""
        self.sending = [[], []]
        """Calls that wait for room in each end's inbox, with their message."""
        self.reading = [[], []]

    def free(self):
        return [lane for lane in self.lanes if lane.running is None and lane not in self.away]

    def open_sides(self):
        return [side for side in (0, 1) if not self.closed[side]]

    def can_call(self):
        return self.free() and self.open_sides()

    # -- what may happen -----------------------------------------------------------------------------

    @precondition(can_call)
    @rule(data=st.data(), size=SIZES)
    def send(self, data, size):
        side = data.draw(st.sampled_from(self.open_sides()))
        blob = next(self.serial).to_bytes(4, "big") + b"x" * size
        call = self.world.call(data.draw(st.sampled_from(self.free())), self.ends[side], "send", blobs=[blob])
        self.sending[1 - side].append((call, blob))

    @precondition(can_call)
    @rule(data=st.data())
    def recv(self, data):
        side = data.draw(st.sampled_from(self.open_sides()))
        self.reading[side].append(
            self.world.call(data.draw(st.sampled_from(self.free())), self.ends[side], "recv")
        )

    @precondition(can_call)
    @rule(data=st.data())
    def poll(self, data):
        side = data.draw(st.sampled_from(self.open_sides()))
        ready = self.world.ask(data.draw(st.sampled_from(self.free())), self.ends[side], "poll", 0)
        assert ready is bool(self.lying[side] or self.closed[1 - side])

    @rule(data=st.data())
    def give_up(self, data):
        """Abandon a call that waits, or one whose answer has not arrived."""
        lane = data.draw(st.sampled_from(self.lanes))
        calls = lane.unsettled
        if not calls or lane in self.away:
            return
        call = calls[-1]
        for side in (0, 1):
            if call in self.reading[side]:
                self.reading[side].remove(call)
            self.sending[side] = [(c, blob) for c, blob in self.sending[side] if c is not call]
        if call.answered and call.op.method == "recv" and call.error is None and call.took is not None:
            side = self.ends.index(call.machine)
            if self.closed[side]:
                return
            self.lying[side].insert(0, call.took)
        self.world.abandon(call)

    @rule(data=st.data())
    def lose(self, data):
        lane = data.draw(st.sampled_from(self.lanes))
        if lane not in self.away:
            self.away.add(lane)
            self.world.suspend(lane)

    @precondition(lambda self: self.away)
    @rule(data=st.data())
    def back(self, data):
        lane = data.draw(st.sampled_from(sorted(self.away, key=lambda lane: lane.session.id)))
        self.away.remove(lane)
        self.world.resume(lane)

    @rule(side=st.sampled_from([0, 1]), sure=st.integers(0, 3))
    def close(self, side, sure):
        if sure == 0 and not self.closed[side]:
            self.closed[side] = True
            self.world.delete(self.ends[side])
            self.lying[side].clear()

    # -- what must hold ------------------------------------------------------------------------------

    @invariant()
    def accounts_agree(self):
        """Carry what the calls were told over to the lists, and compare them with the inboxes."""
        for side in (0, 1):
            moved = True
            while moved:  # a message that came may have been read in the same step
                moved = self.note_sent(side) or self.note_read(side)
            if not self.closed[side]:
                assert list(self.ends[side].inbox) == self.lying[side]

    def note_sent(self, side):
        for call, blob in self.sending[side]:
            if call.answered:
                self.sending[side].remove((call, blob))
                if call.error is None:
                    self.lying[side].append(blob)
                else:
                    assert any(self.closed)
                    assert self.closed[1 - side] or isinstance(call.error, BrokenPipe)
                return True
        return False

    def note_read(self, side):
        for call in self.reading[side]:
            if call.answered and call.error is not None:
                self.reading[side].remove(call)
                assert any(self.closed)
                assert self.closed[side] or isinstance(call.error, EndOfPipe)
                return True
            if call.answered and self.lying[side] and call.out[0] == self.lying[side][0]:
                self.reading[side].remove(call)
                self.lying[side].pop(0)
                return True
        return False

    @invariant()
    def nobody_waits_in_vain(self):
        for side in self.open_sides():
            awake = [call for call in self.reading[side] if call.lane not in self.away]
            assert not (awake and (self.lying[side] or self.closed[1 - side]))


Pipes.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
TestPipes = Pipes.TestCase
