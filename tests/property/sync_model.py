"""What locks, semaphores, events and conditions should do, as simply as it can be said.

The model knows lines, holders and time, and nothing of records, fences or parked calls: a line is a list, and
who is first and awake in it gets what is free. `Model.says` is what each lane's latest call should come to.
"""

import itertools
from collections import Counter
from typing import Any

PARKED, REFUSED = "parked", "refused"


class Place:
    """Where a lane stands in a line: what it will get, and from which condition it came."""

    def __init__(self, lane, levels=1, answer=True, news=None):
        self.lane, self.levels, self.answer, self.news = lane, levels, answer, news


class Model:
    """What every lane's latest call should have come to."""

    def __init__(self):
        self.says = {}
        self.now_s = 0
        self.order = itertools.count()
        self.alarms = {}

    def park(self, lane, timeout_s, alarm):
        self.says[lane] = PARKED
        if timeout_s is not None:
            self.alarms[lane] = (self.now_s + timeout_s, next(self.order), alarm)

    def advance(self, seconds):
        self.now_s += seconds
        while self.alarms:
            lane, (deadline_s, _, alarm) = min(self.alarms.items(), key=lambda item: item[1][:2])
            if deadline_s > self.now_s:
                return
            del self.alarms[lane]
            alarm(lane)


class MutexModel:
    def __init__(self, model, kind, policy="release"):
        self.model, self.kind, self.policy = model, kind, policy
        self.abandoned = False
        self.holder: Any = None
        self.levels, self.line = 0, []
        self.users = set()  # sessions that used it through a condition

    def settle(self):
        awake = [place for place in self.line if not place.lane.suspended]
        if self.holder is None and awake:
            self.line.remove(awake[0])
            self.holder, self.levels = awake[0].lane, awake[0].levels
            self.model.says[self.holder] = awake[0].answer
            self.model.alarms.pop(self.holder, None)

    def acquire(self, lane, timeout_s):
        if self.kind == "rlock" and self.holder is lane:
            self.levels += 1
            self.model.says[lane] = True
        elif self.abandoned and self.policy == "raise":
            self.model.says[lane] = REFUSED
        elif self.holder is not None and timeout_s == 0:
            self.model.says[lane] = False
        else:
            self.line.append(Place(lane))
            self.model.park(lane, timeout_s, self.expire)
            self.settle()

    def expire(self, lane):
        self.line = [place for place in self.line if place.lane is not lane]
        self.model.says[lane] = False

    def release(self, lane):
        theirs = self.kind == "rlock" and self.holder is not lane
        if self.holder is None or theirs or (self.abandoned and self.policy == "raise"):
            self.model.says[lane] = REFUSED
            return
        self.model.says[lane] = None
        self.less()

    def less(self):
        self.levels -= 1
        if not self.levels:
            self.free()

    def free(self):
        self.holder, self.levels, self.abandoned = None, 0, False
        self.settle()

    def recover(self, lane):
        self.model.says[lane] = self.abandoned
        if self.abandoned:
            self.before = self.holder
            self.holder, self.levels, self.abandoned = lane, 1, False

    def abandon(self, holder):
        self.holder, self.levels, self.abandoned = holder, 1, True
        if self.policy == "raise":
            for place in self.line:
                self.fail(place)
            self.line = []

    def fail(self, place):
        self.model.says[place.lane] = REFUSED
        self.model.alarms.pop(place.lane, None)

    def owner_died(self):
        if self.policy == "release":
            self.free()
        elif not self.abandoned:
            self.abandon(self.holder)

    def may_wait(self, lane):
        if self.holder is None or self.abandoned:
            return False
        return self.holder is lane or (self.kind == "lock" and self.holder.session is lane.session)

    def counts(self, lane):
        """An answer that may have arrived makes who is dead a holder."""
        return lane.session.ended and self.policy != "release"

    def undo(self, lane):
        if self.holder is lane and not self.counts(lane):
            self.less()

    def undo_recover(self, lane):
        if self.holder is lane and not self.counts(lane):
            self.abandon(self.before)

    def gone(self, lane):
        for place in [place for place in self.line if place.lane is lane]:
            self.line.remove(place)
            if place.news is not None and place.answer:
                place.news.pass_on()

    def lane_ended(self, lane):
        if self.holder is lane and (self.kind == "rlock" or lane.session in self.users):
            self.owner_died()

    def session_ended(self, session):
        ownerless = self.kind == "lock" and session.info.role == "stock" and session not in self.users
        if self.holder is not None and self.holder.session is session and not ownerless:
            self.owner_died()


class ConditionModel:
    def __init__(self, model, mutex):
        self.model, self.mutex, self.waiting = model, mutex, []

    def acquire(self, lane, timeout_s):
        self.mutex.users.add(lane.session)
        self.mutex.acquire(lane, timeout_s)

    def release(self, lane):
        self.mutex.release(lane)

    def recover(self, lane):
        self.mutex.users.add(lane.session)
        self.mutex.recover(lane)

    def undo_recover(self, lane):
        self.mutex.undo_recover(lane)

    def wait(self, lane, timeout_s):
        if not self.mutex.may_wait(lane):
            self.model.says[lane] = REFUSED
            return
        self.mutex.users.add(lane.session)
        self.waiting.append(Place(lane, self.mutex.levels, answer=None, news=self))
        self.model.park(lane, timeout_s or None, self.expire)
        self.mutex.free()
        if timeout_s == 0:
            self.expire(lane)

    def expire(self, lane):
        self.wake(next(place for place in self.waiting if place.lane is lane), answer=False)

    def wake(self, place, *, answer):
        self.waiting.remove(place)
        self.model.alarms.pop(place.lane, None)
        place.answer = answer
        if self.mutex.abandoned and self.mutex.policy == "raise":
            self.mutex.fail(place)
            return
        self.mutex.line.append(place)
        self.mutex.settle()

    def notify(self, lane, n):
        if not self.mutex.may_wait(lane):
            self.model.says[lane] = REFUSED
            return
        self.model.says[lane] = None
        for place in self.waiting[:n]:
            self.wake(place, answer=True)

    def pass_on(self):
        if self.waiting:
            self.wake(self.waiting[0], answer=True)

    def undo_wait(self, lane, answer):
        if self.mutex.holder is lane:
            if not self.mutex.counts(lane):
                self.mutex.free()
            if answer:
                self.pass_on()

    def undo(self, lane):
        self.mutex.undo(lane)

    def gone(self, lane):
        self.waiting = [place for place in self.waiting if place.lane is not lane]


class SemaphoreModel:
    def __init__(self, model, value):
        self.model, self.value = model, value
        self.permits: Counter[Any] = Counter()
        self.signal, self.line = value == 0, []

    def account(self, session):
        return "stock" if session.info.role == "stock" else session

    def settle(self):
        while self.value and (awake := [lane for lane in self.line if not lane.suspended]):
            self.line.remove(awake[0])
            self.value -= 1
            self.permits[self.account(awake[0].session)] += 1
            self.model.says[awake[0]] = True
            self.model.alarms.pop(awake[0], None)

    def acquire(self, lane, timeout_s):
        if not self.value and timeout_s == 0:
            self.model.says[lane] = False
            return
        self.line.append(lane)
        self.model.park(lane, timeout_s, self.expire)
        self.settle()

    def expire(self, lane):
        self.gone(lane)
        self.model.says[lane] = False

    def release(self, lane, n=1):
        owner = self.account(lane.session)
        self.signal = self.signal or self.permits[owner] < n
        self.model.says[lane] = None
        self.give_back(owner, n)

    def give_back(self, owner, n):
        self.permits[owner] -= n
        self.value += n
        self.settle()

    def undo(self, lane):
        owner = self.account(lane.session)
        if self.signal or self.permits[owner]:
            self.give_back(owner, 1)

    def gone(self, lane):
        self.line = [other for other in self.line if other is not lane]

    def lane_ended(self, lane):
        """A thread's permits are its session's."""

    def session_ended(self, session):
        if not self.signal and session.info.role != "stock":
            self.give_back(session, self.permits[session])


class EventModel:
    def __init__(self, model):
        self.model, self.flag, self.line = model, False, []

    def turn(self, lane, flag):
        self.flag = flag
        self.model.says[lane] = None
        for waiter in self.line if flag else []:
            self.model.says[waiter] = True
            self.model.alarms.pop(waiter, None)
        self.line = [] if flag else self.line

    def wait(self, lane, timeout_s):
        if self.flag or timeout_s == 0:
            self.model.says[lane] = self.flag
        else:
            self.line.append(lane)
            self.model.park(lane, timeout_s, self.expire)

    def expire(self, lane):
        self.gone(lane)
        self.model.says[lane] = False

    def gone(self, lane):
        self.line = [other for other in self.line if other is not lane]
