"""What is kept of an answered call: enough to answer it again, and to take it back."""

from tests.unit.core.harness import World

from mpserve.core.t_queue import Queue
from mpserve.engines.journal.answers import answer_of, call_of

A = b"\x80\x05K\x01."


def test_a_put_whose_item_went_straight_to_who_waited_brought_nothing():
    """The change right before its answer gave values away: not to who put."""
    world = World()
    queue, lane = world.add(Queue), world.lane()
    getting = world.call(world.lane(), queue, "get", None, False)
    call = world.call(lane, queue, "put_revocably", None, blobs=[A])
    assert list(getting.out) == [A]
    kept = answer_of(call, (queue.ident, "passed", ([A],)))
    again = call_of(kept, lane, world.machines, (queue.ident, "passed", [(1, 0, [A])]))
    assert list(again.out) == []
    world.abandon(again)
    assert world.ask(lane, queue, "unfinished") == 1
