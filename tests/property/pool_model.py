"""What a pool should do, told from its records: where each job is, and what each worker should have got."""

from tests.property.queue_model import expand

from mpshared.terms import Terms
from mpshared.values import RAISED, needs_python, tag_of

READY, DELAYED, DONE, COLLECTED, CANCELLED = "ready", "delayed", "done", "collected", "cancelled"


class PoolModel:
    def __init__(self, settings, max_attempts, workers, wants):
        self.settings, self.max_attempts, self.workers, self.wants = settings, max_attempts, workers, wants
        """`workers`: Python by session id, of those who live; `wants`: how many jobs each (session, lane)
        asks for, of any pool. Both are shared with the machine."""
        self.blobs, self.deaths, self.where = {}, {}, {}
        self.suspects, self.out, self.results, self.python = set(), [], [], None
        self.places = set()
        self.taught, self.ahead = {}, None
        """Who asks for jobs for later, as (session, lane)."""
        self.terms, self.failures, self.dues, self.expiries, self.runs = {}, {}, {}, {}, {}
        """Of jobs on terms. Due times: of those that are DELAYED; runs: [began, to be killed, stopped]."""

    def may_have(self, session, python):
        return python is None or python == self.workers[session] or python not in self.workers.values()

    def rank(self, number):
        return -self.terms[number].priority if number in self.terms else 0

    def numbers(self, where):
        return [number for number, at in self.where.items() if at == where]

    def holders(self):
        return {session for session, _, _ in self.out}

    def next_for(self, session, lane):
        if not self.may_have(session, self.python):
            return []
        crew, most = len(self.workers), self.settings
        sharers = min(crew, most["processes"] or crew)
        ready = self.numbers(READY)
        n = min(self.wants[session, lane], most["max_tasks"] or 99, -(-len(ready) // max(1, sharers)))
        batch = [number for number in ready if self.may_have(session, needs_python(self.blobs[number]))]
        batch.sort(key=lambda number: (self.rank(number), number))
        if n and batch and batch[0] in self.terms:
            return batch[:1]
        batch = batch[: next((i for i, number in enumerate(batch) if number in self.terms), None)][:n]
        for i, number in enumerate(batch):
            if number in self.suspects:
                return batch[: i or 1]
        return batch

    def give_up(self, session, ranges):
        asked = expand(ranges)
        held = [number for holder, _, number in self.out if holder == session]
        numbers = [number for number in asked if number in held]
        self.out = [entry for entry in self.out if entry[0] != session or entry[2] not in numbers]
        for number in numbers:
            if number in self.runs:
                self.runs[number][:2] = None, None
        return numbers

    # -- one method for each verb -------------------------------------------------------------------

    def put(self, blobs):
        for blob in blobs:
            number = len(self.blobs) + 1
            self.blobs[number], self.deaths[number], self.where[number] = blob, 0, READY

    def put_on_terms(self, number, special, due, blob):
        assert number == len(self.blobs) + 1
        self.put([blob])
        terms, expires, failures, *run = special
        assert run == [None, None, False]
        self.runs[number] = run
        self.terms[number], self.failures[number], self.expiries[number] = Terms.of(terms), failures, expires
        if due is not None:
            self.where[number], self.dues[number] = DELAYED, due

    def agreed(self, number, special):
        assert number not in self.terms
        assert number in [entry[2] for entry in self.out]
        self.terms[number], self.failures[number], self.expiries[number] = Terms(), 0, None
        self.runs[number] = [None, None, False]

    def began(self, number, at):
        assert number in [entry[2] for entry in self.out]
        self.runs[number][0] = at

    def warned(self, number, kill_at, stopped):
        assert number in [entry[2] for entry in self.out]
        assert stopped or self.runs[number][0] + self.terms[number].timeout_s <= kill_at
        assert stopped >= self.runs[number][2]
        self.runs[number][1:] = kill_at, stopped

    def due(self, number):
        assert self.where[number] == DELAYED
        self.where[number] = READY
        del self.dues[number]

    def again(self, session, number, due):
        if self.give_up(session, [(number, number)]):
            assert not self.runs[number][2]
            self.failures[number] += 1
            assert self.failures[number] <= self.terms[number].retries
            assert self.expiries[number] is None or due < self.expiries[number]
            self.where[number], self.dues[number] = DELAYED, due
            self.suspects.discard(number)

    def settled(self, number, blob):
        assert self.where[number] in {READY, DELAYED}
        assert self.expiries[number] is not None or self.runs[number][2]
        self.results.append((number, blob))
        self.leave(number, DONE)

    def lease(self, session, lane, _results, ranges):
        numbers = expand(ranges)
        assert numbers == self.next_for(session, lane)
        if (session, lane) == self.ahead:
            assert not self.suspects & set(numbers)
            assert not self.terms.keys() & set(numbers)
        if most := self.settings["processes"]:
            assert session in self.places or len(self.places) < most
            self.places.add(session)
        self.out += [(session, lane, number) for number in numbers]
        for number in numbers:
            self.where[number] = session

    def vacate(self, sessions):
        assert self.places.issuperset(sessions)
        assert self.holders().isdisjoint(sessions)
        self.places.difference_update(sessions)

    def back(self, session, ranges):
        for number in self.give_up(session, ranges):
            self.where[number] = READY

    def died(self, session, counted, spared):
        for number in expand(counted):
            self.deaths[number] += 1
            assert self.deaths[number] < self.max_attempts
        numbers = self.give_up(session, [*counted, *spared])
        assert session not in self.holders()
        self.suspects.update(numbers)
        for number in numbers:
            self.where[number] = READY

    def finish(self, session, ranges, blobs):
        given = {}
        for number, blob in zip(expand(ranges), blobs, strict=True):
            given.setdefault(number, blob)
        for number in dict.fromkeys(self.give_up(session, ranges)):
            if number in self.runs and self.runs[number][2]:
                assert given[number] not in {b"result", b"r"}
            failed = tag_of(given[number]) == RAISED and number in self.terms
            assert not failed or self.failures[number] == self.terms[number].retries or self.expiries[number]
            self.results.append((number, given[number]))
            self.leave(number, DONE)

    def give_up_job(self, session, number, blob):
        self.deaths[number] += 1
        assert self.deaths[number] == self.max_attempts
        self.finish(session, [(number, number)], [blob])

    def collect(self, n):
        for number, _ in self.results[:n]:
            self.where[number] = COLLECTED
        del self.results[:n]

    def uncollect(self, runs):
        back = [(number, blob) for first, blobs in runs for number, blob in enumerate(blobs, first)]
        for number, _ in back:
            assert self.where[number] == COLLECTED
            self.where[number] = DONE
        self.results[:0] = back

    def cancel(self, ranges):
        for number in expand(ranges):
            assert self.where[number] in {READY, DELAYED}
            self.leave(number, CANCELLED)

    def teach(self, digest, blob):
        self.taught[digest] = needs_python(blob)
        self.python = self.taught[digest] or self.python

    def forget(self, digest):
        del self.taught[digest]
        self.python = ([None] + [python for python in self.taught.values() if python])[-1]

    def leave(self, number, where):
        self.where[number] = where
        self.suspects.discard(number)
        for known in (self.terms, self.failures, self.dues, self.expiries, self.runs):
            known.pop(number, None)

    def progress(self, number):
        return self.expiries[number], self.failures[number], *self.runs[number]

    # -- comparing ----------------------------------------------------------------------------------

    def state(self):
        return {
            "ready": {(n, self.deaths[n], self.blobs[n]) for n in self.numbers(READY)},
            "out": {(s, lane, n, self.deaths[n], self.blobs[n]) for s, lane, n in self.out},
            "results": self.results,
            "suspects": self.suspects,
            "delayed": {(n, due, self.deaths[n], self.blobs[n]) for n, due in self.dues.items()},
            "terms": {n: (t.given(), *self.progress(n)) for n, t in self.terms.items()},
            "unfinished": len(self.numbers(READY)) + len(self.out) + len(self.dues),
            "places": self.places,
        }


def seen(pool):
    """Return the state of a real pool in the model's form."""
    state = pool.state()
    return {
        "ready": set(state["ready"]),
        "out": {(s, lane, n, deaths, blob) for s, lane, _, n, deaths, blob in state["leases"]},
        "results": state["results"],
        "delayed": {(number, *late) for number, late in state["delayed"].items()},
        "terms": state["specials"],
        "suspects": state["suspects"],
        "unfinished": state["unfinished"],
        "places": set(state["places"]),
    }
