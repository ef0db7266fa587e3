"""A condition, and those who come to wait for it."""

from tests.unit.core.harness import World

from mpserve.core.t_condition import Condition


class Scene:
    """A condition, and lanes that come to wait for it."""

    def __init__(self, lock_kind):
        self.world = World()
        self.lock = self.world.add(lock_kind, name="door")
        self.condition = self.world.add(Condition, name="news", lock=self.lock.ident)

    def lane(self, session=None, role="program"):
        return self.world.lane(session, role)

    def ask(self, lane, method, *args):
        return self.world.ask(lane, self.condition, method, *args)

    def enter(self, lane, levels=1):
        for _ in range(levels):
            assert self.ask(lane, "acquire", 0) is True

    def leave(self, lane):
        self.ask(lane, "release")

    def waiting(self, timeout_s=None, levels=1, lane=None):
        """Let a lane, of a new session unless given, acquire and wait."""
        lane = lane or self.lane()
        self.enter(lane, levels)
        return self.world.call(lane, self.condition, "wait", timeout_s)

    def notify(self, n=1):
        """Let somebody new notify, and go."""
        lane = self.lane()
        self.enter(lane)
        self.ask(lane, "notify", n)
        self.leave(lane)

    def holds(self, call):
        return self.lock.holder == (call.session.id, call.lane.number)

    def restart(self):
        self.world.restart()
        self.lock = self.world.rebuilt(self.lock)
        self.condition = self.world.rebuilt(self.condition)
