"""The client half of a pool: jobs go to the server, their outcomes come back.

    Singles ─┐                    sender                     collector
    Flow ────┼─ waiting ─ ring ─► pool.submit ─► server ─► pool.collect ─► deliver ─► results, futures
    Flow ────┘

RULES
* Only the sender, a thread, submits and cancels: no Ctrl-C can break such a call, so it is always known which
  numbers the server has. Others ask it, through one queue.
* A span is noted before its jobs are sent: results may come before the answer.
* Each job has exactly one outcome: its result, or that it was refused, cancelled, or lost with its pool.
* Users' code (callbacks) runs in these threads and under no lock; it may submit, but not wait for results.
* Neither thread keeps a Pool or an executor alive; they end with it.
"""

from __future__ import annotations

import os
import pickle
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mpclient.pooling import nested
from mpclient.pooling.flow import Flow
from mpclient.pooling.functions import Functions
from mpclient.pooling.outcomes import JobCancelled, PoolClosed, failures, open_all
from mpclient.pooling.refusal import pickled, roots_of
from mpclient.pooling.requests import Abandoned, Cancel, GiveBack, Look, Request, Stop
from mpclient.pooling.sources import Parcel, Singles, Tickets
from mpclient.pooling.spans import Sink, Span, Spans
from mpclient.pooling.threads import NoThreads, Threads
from mpclient.pooling.vigil import Vigil
from mpclient.ship import is_shipping, shipped_to
from mpclient.transport.living import Living
from mpclient.values.jobs_format import Spec, dump_spec
from mpclient.values.pickling import PLAIN, is_long, own_buffers
from mpshared.errors import MpserveError, NoRoom, NoSuchObject, NoWorkers, ServerGone
from mpshared.ops import BY_NAME
from mpshared.values import PICKLE_PROTOCOL

if TYPE_CHECKING:
    from mpclient.pooling.sources import Source, Ticket
    from mpclient.session import Session
    from mpshared.values import Blob

__all__ = ["Jobs", "open_pools"]

_OPEN: Final = BY_NAME["cluster.open"]
_DROP: Final = BY_NAME["cluster.drop"]
_SUBMIT: Final = BY_NAME["pool.submit"]
_SUBMIT_ON_TERMS: Final = BY_NAME["pool.submit_on_terms"]
_COLLECT: Final = BY_NAME["pool.collect"]
_EQUIP: Final = BY_NAME["pool.equip"]
_COLLECT_MOST: Final = 1024
_INTERRUPTED: Final = "this pool was interrupted while its threads were started; open another"
_TERMINATE_S: Final = 1.0
_JOIN_S: Final = 5.0
"""How long `terminate` and `join` wait for the two threads, which have nothing left to do by then."""


class Jobs:
    """One pool's jobs.

    Args:
        session: This process at the server.
        settings: processes, max_tasks, max_attempts; 0 for no bound.
    """

    def __init__(self, session: Session, settings: Mapping[str, int]) -> None:
        self.session = session
        self.ident: str = session.call(_OPEN, "", ["pool", None, dict(settings), False, None]).result[0]
        self.functions = Functions(session, self.ident)
        self.singles = Singles()
        self.flows: set[Flow] = set()
        self.spans = Spans()
        self.over: BaseException | None = None
        """Why nothing more can be asked, once that is so."""
        self.done = threading.Event()
        self._begin()
        self._spec = Spec()
        self._forked: RuntimeError | None = None
        self._moving = False
        """Whether the sender is between taking jobs and having noted them."""
        self._closing = False
        self._next = 1
        self._vigil = Vigil(session)
        _living.add(self)
        nested.listen(self)

    def _begin(self) -> None:
        self.lock = threading.Lock()
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads = Threads()

    def equip(self, name: str, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
        """Tell the pool's workers what they have to know.

        Args:
            name: What messages call the pool.
            initializer: What each worker process calls before its first job, if anything.
            initargs: Its arguments.
        """
        digest = None
        if initializer is not None:
            roots = [("initializer", initializer), ("initargs", initargs)]
            digest = self.functions.teach(pickled((initializer, initargs), roots, self.session))
        self._spec = Spec(name, digest)
        if name or digest or is_shipping(self.session):
            self.equip_again()

    def equip_again(self) -> None:
        """Tell the pool's workers what they have to know now: what is shipped may have changed."""
        self._spec = self._spec._replace(shipped=tuple(shipped_to(self.functions, self.session)))
        self.session.call(_EQUIP, self.ident, [], (dump_spec(self._spec),))

    # -- submitting ------------------------------------------------------------------------------

    def submit(self, ticket: Ticket, job: tuple[Any, ...], terms: Mapping[str, Any] | None = None) -> None:
        """Send one job soon, on these terms; `ticket` is settled when it has its outcome.

        Raises:
            Whatever pickling it raises, with the name of what cannot travel.
        """
        blob = self._pickled(job)
        if self.over is not None:
            raise self.over
        self.singles.waiting.append((ticket, blob, terms))
        if not self.singles.rung:
            self.ring(self.singles)
        if self.over is not None:  # since a moment ago: nobody will send it
            self._drop_singles(self.over)

    def _pickled(self, job: tuple[Any, ...]) -> Blob:
        args = job[2]
        plain = type(args) is tuple and not job[3] and PLAIN.issuperset(map(type, args))
        if plain and not any(map(is_long, args)):
            return pickle.dumps(job, PICKLE_PROTOCOL)
        return own_buffers(pickled(job, roots_of(job), self.session))

    def ring(self, source: Source) -> None:
        """Have the sender look at a source."""
        source.rung = True
        self._outbox.put(source)
        if not self._threads:
            self._start()

    def give_back(self, digest: str) -> None:
        """Have a function that was lent forgotten soon."""
        if self.over is None:
            self._outbox.put(GiveBack(digest))

    def add(self, flow: Flow) -> None:
        """Know of a stream of jobs, until all of them have been sent."""
        with self.lock:
            if self.over is not None:
                raise self.over
            self.flows.add(flow)
            closing = self._closing
        if closing:
            flow.close()

    def flow_ended(self, flow: Flow) -> None:
        """Forget a stream if all of it has been sent."""
        with self.lock:
            if not flow.is_sent:
                return
            self.flows.discard(flow)
        self.check_done()

    def flows_under_way(self) -> set[Flow]:
        """Return the streams that are still fed, sent, or worked on. Under the lock."""
        return self.flows | {span.sink for span in self.spans if isinstance(span.sink, Flow)}

    @property
    def is_moving(self) -> bool:
        """Whether jobs are on their way from where they waited to where they are noted as sent, and will come
        there: not for callbacks in the thread that brings them, nor once it has ended on its way.
        """
        return self._moving and self.over is None and not self.is_own_thread

    def _start(self) -> None:
        try:
            with self.lock:
                if not self._threads and self.over is None:
                    self._threads.start(self._run, sender=self._send, collector=self._collect)
        except BaseException as err:
            self.end(err if isinstance(err, NoThreads) else PoolClosed(_INTERRUPTED))
            raise

    def _run(self, work: Callable[[], None]) -> None:
        """Be one of the threads; what ends it early ends the pool."""
        try:
            work()
        except (NoRoom, NoSuchObject, ServerGone) as err:
            self.end(self._lost(err))
        except BaseException as err:
            self.end(
                ServerGone(f"a thread of the pool failed ({err!r}): a mistake in mpserve, please report it")
            )
            raise
        finally:
            self._outbox.put(None)

    @property
    def is_own_thread(self) -> bool:
        """Whether this is a callback: it must not wait for what only this thread brings."""
        return self._threads.is_current

    def check_may_wait(self) -> None:
        """Refuse to wait where no result can come.

        Raises:
            RuntimeError: This is a callback, and the result would be brought by this very thread; or a forked
                child, and it will be brought to the parent.
        """
        if self._forked is not None:
            raise self._forked
        if self.is_own_thread:
            raise RuntimeError(
                "a callback of a pool cannot wait for a result of the same pool: the thread that it runs in "
                "is the one that brings results; submit in the callback, and wait elsewhere"
            )

    # -- the sender ------------------------------------------------------------------------------

    def _send(self) -> None:
        while (request := self._next_request()) is not None:
            if isinstance(request, Request):
                request.serve(self)
            else:
                self._send_from(request)
            del request

    def _next_request(self) -> Any:
        while True:
            try:
                return self._outbox.get(timeout=self._vigil.due_s(len(self.spans)))
            except queue.Empty:
                self._vigil.look()

    def _send_from(self, source: Source) -> None:
        source.rung = False
        self._moving = True
        parcel = source.take()
        if parcel is not None:
            self._submit(parcel)
            if source.has_waiting and not source.rung:
                self.ring(source)
        self._moving = False
        if isinstance(source, Flow):
            self.flow_ended(source)
        self.check_done()

    def _submit(self, parcel: Parcel) -> None:
        """Send a parcel; what the server refuses in it fails alone."""
        n = len(parcel.blobs)
        span = Span(self._next, n, parcel.sink, parcel.base)
        if isinstance(parcel.sink, Tickets):
            parcel.sink.number(self._next)
        nested.submitted(n)
        with self.lock:
            self.spans.add(span)
            over = self.over
        if over is not None:
            self._refused(parcel, span, over)
            return
        try:
            if parcel.terms is None:
                self.session.call_patiently(_SUBMIT, self.ident, [self._next], parcel.blobs)
            else:
                args = [self._next, dict(parcel.terms)]
                self.session.call_patiently(_SUBMIT_ON_TERMS, self.ident, args, parcel.blobs)
        except (NoSuchObject, ServerGone):
            raise
        except MpserveError as err:
            self._refused(parcel, span, err)
        else:
            self._next += n

    def _refused(self, parcel: Parcel, span: Span, err: BaseException) -> None:
        with self.lock:
            counted = self.spans.remove(span)
        if not counted:
            return  # the pool has ended meanwhile, and told everybody
        nested.settled(len(parcel.blobs))
        if self.over is not None and isinstance(parcel.sink, Flow):
            parcel.sink.end(failures(err, 1)[0].error)
        elif len(parcel.blobs) == 1 or self.over is not None:
            parcel.sink.deliver(parcel.base, failures(err, len(parcel.blobs)))
        else:
            for half in parcel.halves():
                self._submit(half)

    # -- the collector ---------------------------------------------------------------------------

    def _collect(self) -> None:
        while self.over is None:
            self._receive(*self._next_results())
            self.check_done()

    def _next_results(self) -> tuple[list[list[int]], Sequence[Any]]:
        reply = self.session.call_patiently(_COLLECT, self.ident, [_COLLECT_MOST, None])
        self._vigil.heard()
        return reply.result[0], open_all(reply.blobs, self.session)

    def _receive(self, ranges: Sequence[Sequence[int]], outcomes: Sequence[Any]) -> None:
        start = 0
        for first, last in ranges:
            with self.lock:
                parts = list(self.spans.split(first, last))
            for span, low, high in parts:
                part = outcomes[start + low - first : start + high + 1 - first]
                self.settle(span, low, part)
            start += last - first + 1

    def settle(self, span: Span, number: int, outcomes: Sequence[Any]) -> None:
        """Give the jobs of a span, from `number` on, their outcomes."""
        span.sink.deliver(span.base + number - span.first, outcomes)
        with self.lock:
            counted = self.spans.settle(span, len(outcomes))
        if counted:  # else the pool has ended meanwhile, which counted them
            nested.settled(len(outcomes))

    # -- cancelling ------------------------------------------------------------------------------

    def cancel(self, sink: Sink | None, error: BaseException) -> None:
        """Have what has not begun (of one sink; None: of all) cancelled soon: its outcome will be `error`."""
        if self._threads and self.over is None:
            self._outbox.put(Cancel(sink, error=error))

    def cancel_soon(self, ticket: Ticket, error: BaseException) -> None:
        """Have one job cancelled, unless it has begun; its outcome will be `error`."""
        if self._threads and self.over is None:
            self._outbox.put(Cancel(ticket=ticket, error=error))

    def cancel_now(self, ticket: Ticket) -> bool:
        """Cancel one job and return True: its ticket is not settled. False: it has begun, or is over."""
        return bool(self._threads) and self._ask(Cancel(ticket=ticket)).count > 0

    def has_begun(self, ticket: Ticket) -> bool:
        """Ask whether a worker has begun one job."""
        return bool(self._threads) and self._ask(Look(ticket)).count > 0

    def stop(self, ticket: Ticket, grace_s: float) -> bool:
        """Cancel one job, whether it runs or not; False: it is over."""
        error = JobCancelled("this job was cancelled before it began")
        return bool(self._threads) and self._ask(Stop(ticket, error, grace_s)).count > 0

    def cancel_all_now(self, error: BaseException) -> None:
        """Cancel what has not begun: its outcome is `error`."""
        if self._threads:
            self._ask(Cancel(error=error))

    def _ask(self, request: Cancel | Look) -> Cancel | Look:
        """Have the sender serve a request, and wait for that."""
        sender = self._threads.first
        if threading.current_thread() is sender:
            request.serve(self)
            return request
        self._outbox.put(request)
        while not request.served.wait(0.5) and sender.is_alive():
            continue
        return request

    def nested_refused(self, text: str) -> None:
        """Hear that jobs may never run: see `nested`."""
        if self.spans:
            self.cancel(None, NoWorkers(text))

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """End when everything that was submitted has its outcome."""
        with self.lock:
            self._closing = True
            flows = list(self.flows)
        for flow in flows:
            flow.close()
        sources: list[Source] = [self.singles, *flows]
        for source in sources:
            if self._threads or source.has_waiting:
                self.ring(source)  # who left something there may have been interrupted before it did so
        self.check_done()

    def check_done(self) -> None:
        """End a closed pool that has nothing left to do."""
        if not self._closing:
            return
        with self.lock:
            # In this order: what the sender moves is found at one of these places.
            if self.over is not None or self.singles.has_waiting or self.flows or self._moving or self.spans:
                return
            self.over = PoolClosed("the pool was closed")
        self._leave(self.over)
        self.done.set()

    def terminate(self) -> None:
        """End now; what has no outcome fails with `PoolClosed`."""
        self.end(PoolClosed("the pool was terminated before this job had a result"))
        self._threads.join(_TERMINATE_S)

    def abandon(self, *, finish: bool = False) -> None:
        """End soon; with `finish` when everything has its outcome. For finalisers, which may run anywhere."""
        if self._threads:
            self._outbox.put(Abandoned(finish=finish))
        elif self.over is None:
            self.over = PoolClosed("the pool is not used any more")
            self.session.references.let_go(self.ident, 1)

    def end(self, error: BaseException) -> None:
        """End the pool for a reason, unless it has ended."""
        with self.lock:
            if self.over is not None:
                return
            self.over = error
            flows = self.flows_under_way()
            self.flows.clear()
            spans = self.spans.clear()
        self._leave(error)
        nested.settled(sum(span.left for span in spans))
        self._drop_singles(error)
        for span in spans:
            if isinstance(span.sink, Tickets):
                span.sink.deliver(span.base, failures(error, span.last - span.first + 1))
        for flow in flows:
            flow.end(failures(error, 1)[0].error)
        self.done.set()

    def _drop_singles(self, error: BaseException) -> None:
        for ticket in self.singles.drop():
            ticket.settle(failures(error, 1)[0])

    def _leave(self, why: BaseException) -> None:
        """Have the server forget the pool: that ends the collector's call, and the jobs still running."""
        self._outbox.put(None)
        if isinstance(why, NoRoom):  # perhaps for this thread's connection: the keeper tells the server
            self.session.references.let_go(self.ident, 1)
        elif not isinstance(why, ServerGone):
            with suppress(MpserveError):
                self.session.call(_DROP, "", [[[self.ident, 1]]])

    def join(self) -> None:
        """Wait for the end, which `close` or `terminate` has asked for.

        Raises:
            RuntimeError: Called in a callback, which would wait for itself.
        """
        if self.is_own_thread:
            raise RuntimeError("cannot join current thread: this is a callback of the pool")
        self.done.wait()
        self._threads.join(_JOIN_S)

    def _lost(self, err: MpserveError) -> MpserveError:
        if isinstance(err, NoSuchObject):
            why = self.session.why_renewed or f"the server at {self.session.address} has it no more"
            return ServerGone(f"the pool is lost with its jobs: {why}. Open another, and submit them again")
        return type(err)(err.text, **err.fields)  # without the frames of this thread

    # -- forks -----------------------------------------------------------------------------------

    def forked(self) -> None:
        """Be of no use in a forked child: neither the threads nor the results come along."""
        self._begin()
        self.functions.forked()
        self.done = threading.Event()
        self.done.set()
        self.over = self._forked = RuntimeError(
            "this pool belongs to the parent process; a forked child cannot use it: open another one here"
        )
        flows, spans = self.flows_under_way(), self.spans.clear()
        for ticket in self.singles.drop():
            ticket.forked(self.over)
        for span in spans:
            if isinstance(span.sink, Tickets):
                span.sink.forked(self.over)
        for flow in flows:
            flow.forked(self.over)


_living: Living[Jobs] = Living()


def open_pools(session: Session) -> list[Jobs]:
    """Return the pools of a session that are not over."""
    return [jobs for jobs in _living.all() if jobs.session is session and jobs.over is None]


def _after_fork_in_child() -> None:
    for jobs in _living.all():
        jobs.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
