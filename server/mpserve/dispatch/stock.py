"""The standard library's manager protocol, server side.

    one-shot      (None, function, args, kwds) -> one reply, then the client hangs up
    persistent    accept_connection, then (ident, method, args, kwds) -> reply, one at a time, until the end

RULES
* A request is loaded symbolically, or known by its bytes: nothing in it is imported or called. A value that
  is only stored is cut out of it (`stock_cut.py`).
* What may take long, to open a large request or to write a large reply, is done beside the loop
  (`beside.py`); a request that is small, or not large and plain, is opened at once.
* The connection is the session: it owns the RLocks and Conditions taken over it, and what waits on it ends
  with it.
* What a `get` took is taken once its reply has left whole (`drained`); until then it returns if the
  connection breaks.
* While the peer has much to read, the requests that it has sent are left unread, too.
* A reply is written for any Python from 3.8: protocol 4, exceptions of the standard library only.

Source: CPython `Lib/multiprocessing/managers.py`, `Server` and `BaseProxy._callmethod`.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mpserve.core.calls import Call, Lane, Session, SessionInfo
from mpserve.dispatch.faces import FACES, Plan
from mpserve.dispatch.faces.base import Default, NewProxy, nothing, only
from mpserve.dispatch.faces.creation import CREATORS
from mpserve.dispatch.roles import needs
from mpserve.dispatch.stock_cut import HEAD_AT, cut_value, names_in, value_at
from mpserve.dispatch.stock_errors import failure
from mpserve.dispatch.stock_forms import (
    PAIR,
    PAIR_ENDS,
    PROXY,
    RETURN,
    UNSERIALIZABLE,
    debug_text,
    finish_with,
    no_object,
    pair_around,
    read_request,
    token,
    token_ident,
)
from mpshared import errors, symbolic
from mpshared.ops import BY_NAME
from mpshared.symbolic import LARGE, Opaque, Stock, Stub
from mpshared.symbolic.plain import is_plain
from mpshared.wire.errors import ProtocolError
from mpshared.wire.framing import HEADER_BYTES
from mpshared.wire.stock.messages import StockMessages, stock_frame

if TYPE_CHECKING:
    from mpserve.dispatch.dispatcher import Dispatcher
    from mpserve.dispatch.registered import Made, RegisteredClasses
    from mpserve.dispatch.transport import Transport
    from mpshared.ops import Role
    from mpshared.values import Blob

__all__ = ["StockSide"]

_PLAIN: Final = frozenset({type(None), bool, int, float, str})
_BARE: Final = {value: pickle.dumps((RETURN, value), 4) for value in (None, True, False)}
"""The commonest replies, ready-made."""
_NOTHING: Final = stock_frame(_BARE[None])
_LOADS: Final = PAIR + b"c_pickle\nloads\n"
"""The beginning of a reply whose value the client unpickles itself; the value follows as bytes."""
_REQUEST_BYTES: Final = 128
_REQUESTS: Final = 32
_AT_ONCE_BYTES: Final = 8 << 10
"""A request of one-byte opcodes of this size takes 10 ms."""
_PLAIN_BYTES: Final = 64 << 10
"""Some milliseconds, when it is plain; and one that is larger hardly notices the way through a thread."""
_MANY: Final = 1000
"""Parts of an answer; they take 3 µs each."""


_ELSEWHERE: Final = Plan("")
"""Stands for a request that a thread has: it is answered later, and not by the engine."""


class StockSide:
    """One authenticated connection of a standard-library client."""

    attentive = True

    def __init__(
        self,
        dispatcher: Dispatcher,
        transport: Transport,
        registered: RegisteredClasses,
        access: Role = "client",
    ) -> None:
        self._access: Role = access
        self._dispatcher = dispatcher
        self._registered = registered
        self._transport = transport
        self._messages = StockMessages(dispatcher.limits.max_message)
        self._session: Session = dispatcher.start_session(
            SessionInfo(role="stock", host=transport.label), access
        )
        self._lane: Lane = self._session.lane(1)
        self._lane.reply_to = self
        self._persistent = False
        self._plan: Plan | None = None
        self._kinds: dict[str, str] = {}
        """Kinds of idents seen on this connection."""
        self._known: dict[bytes, Plan] = {}
        """What small requests without values mean: programs send the same bytes again and again."""
        self._stores: dict[bytes, Plan] = {}
        """The same for those that store one value, by what comes before it."""
        self._over = False
        dispatcher.engine.connected(self._session, dispatcher.clock())

    # -- bytes -----------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> int:
        """Act on every whole request; return how many bytes to read next, for large ones."""
        messages = self._messages
        try:
            if messages.is_one(data) and not self._over:  # nearly every read
                self._request(data[HEADER_BYTES:])
                return 0
        except ProtocolError as err:
            self._refuse(err)
        messages.receive_data(data)
        return self._go_on()

    def _go_on(self) -> int:
        try:
            self._act_on_all()
        except ProtocolError as err:
            self._refuse(err)
        return self._messages.wants

    def _act_on_all(self) -> None:
        while not (self._over or self._transport.full):  # else `drained` goes on
            payload = self._messages.next_event()
            if payload is None:
                return
            self._request(payload)

    def _refuse(self, err: ProtocolError) -> None:
        self._over = True
        self._transport.close(reason=str(err))

    def drop(self) -> bool:
        """Nothing: a request that was not read cannot be answered."""
        return False

    def starved(self) -> bool:
        """Tell whether a request is only partly here: a stock client writes header and body of a large one
        apart.
        """
        return not self._persistent or not self._messages.idle

    def drained(self) -> None:
        """The reply has left whole: what it carries is the client's now. Go on with requests left unread."""
        self._lane.settle_all()
        if not (self._over or self._messages.idle):
            self._go_on()

    def closed(self) -> None:
        """End the session with its connection."""
        self._over = True
        self._lane.reply_to = None
        if not self._session.ended:
            self._dispatcher.engine.end_session(self._session, self._dispatcher.clock())

    def goodbye(self, reason: str) -> bool:
        """A stock client cannot be told; it sees the end of the connection (EOFError), at its next call."""
        _ = reason
        return False

    def session_over(self, _session: Session) -> None:
        """Close: the server ended the session."""
        if not self._over:
            self._over = True
            self._transport.close()

    def broken(self, error: errors.MpserveError) -> None:
        """Close: an answer could not be sent."""
        self._over = True
        self._transport.close(reason=error.text)

    # -- requests --------------------------------------------------------------------------------

    def _request(self, payload: bytes) -> None:
        if self._plan is not None:
            raise ProtocolError("request", "a second request before the reply to the first")
        if len(payload) <= _REQUEST_BYTES and (plan := self._known.get(payload)) is not None:
            self._carry_out(plan, ())
            return
        if (at := value_at(payload)) and self._persistent and self._stored(payload, at):
            return
        if len(payload) > _AT_ONCE_BYTES and not (len(payload) <= _PLAIN_BYTES and is_plain(payload)):
            self._plan = _ELSEWHERE
            self._dispatcher.beside.run(lambda: self._open(payload))
            return
        try:
            outcome = self._start(*read_request(payload))
            if self._persistent and len(payload) <= _REQUEST_BYTES:
                self._note(payload, outcome)
            self._act(outcome)
        except Exception as err:  # noqa: BLE001 - whatever it is, the peer is told and the server goes on
            self._reply_failure(err, None)

    def _stored(self, payload: bytes, at: int) -> bool:
        """Store the value that begins at `at` as it is; tell whether that can be done."""
        head = payload[HEAD_AT:at]
        plan = self._stores.get(head) or self._find_store(head)
        value = None if plan is None else cut_value(payload, at)
        if plan is None or value is None:
            return False
        self._carry_out(plan, [value])
        return True

    def _find_store(self, head: bytes) -> Plan | None:
        """Return the plan of a method that stores its argument; None: it is another."""
        ident, method = names_in(head) or ("", "")
        kind = self._kinds.get(ident) or self._dispatcher.engine.kind_of(ident)
        if kind not in FACES or method not in FACES[kind].STORES:
            return None
        plan: Plan = FACES[kind](ident).invoke(method, (None,), {})
        if len(self._stores) < _REQUESTS:
            self._stores[head] = plan
        return plan

    def _note(self, payload: bytes, plan: Any) -> None:
        """Keep the plan of a request that may come again, if it is the same then."""
        if plan is _ELSEWHERE or type(plan) is not Plan or len(self._known) == _REQUESTS:
            return
        again = plan.key is None and not plan.values and getattr(plan.then, "__closure__", plan) is None
        if again and all(type(arg) in _PLAIN for arg in plan.args):
            self._known[payload] = plan

    def _open(self, payload: bytes) -> Callable[[], None]:
        """Open a large request, beside the loop; return what is left to do."""
        try:
            outcome = self._start(*read_request(payload, LARGE))
        except Exception as err:  # noqa: BLE001 - as above
            return partial(self._refused, failure(err, None, one_shot=not self._persistent))
        return partial(self._opened, outcome)

    def _refused(self, told: tuple[str, Any]) -> None:
        self._plan = None
        if not self._over:
            self._reply(*told)

    def _opened(self, outcome: Any) -> None:
        """Go on with what was made beside the loop."""
        if self._over or outcome is _ELSEWHERE:
            return
        self._plan = None
        try:
            self._act(outcome)
        except Exception as err:  # noqa: BLE001 - as above
            self._reply_failure(err, None)

    def _start(self, ident: Any, method: str, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        if not self._persistent:
            function = _PUBLIC.get(method)
            if ident is not None or function is None:
                raise ProtocolError("request", f"{method!r:.60} is no function of a manager's server")
            return function(self, *args, **kwds)
        if type(ident) is not str:  # hashing anything else could take for ever
            raise no_object(ident)
        kind = self._kinds.get(ident) or self._find_kind(ident)
        if kind == "registered":
            self._check_may_use(f"{method:.60} of the registered object {ident:.80}")
            return self._elsewhere(self._registered.call(ident, method, (args, kwds), self._called))
        return FACES[kind](ident).invoke(method, args, kwds)

    def _find_kind(self, ident: str) -> str:
        kind = self._dispatcher.engine.kind_of(ident)
        if kind is None:
            raise no_object(ident)
        self._kinds[ident] = kind
        return kind

    def _act(self, outcome: Any) -> None:
        """Carry a plan out, or send a result."""
        if outcome is _ELSEWHERE:
            self._plan = _ELSEWHERE
        elif isinstance(outcome, Plan):
            self._carry_out(outcome, outcome.values)
        else:
            self._send_result(outcome)

    def _carry_out(self, plan: Plan, values: Sequence[Blob]) -> None:
        """Have the engine do it, with these values."""
        self._plan = plan
        lane = self._lane
        call = Call(BY_NAME[plan.op], plan.target, plan.args.copy(), values, lane, lane.last_number + 1)
        if lane.unsettled:
            lane.settle_all()
        lane.admit(call)
        self._dispatcher.submit(call)

    def answer(self, call: Call) -> None:
        """Go on with the plan whose call was answered."""
        plan, self._plan = self._plan, None
        if plan is None:
            return
        if call.error is not None:
            self._fail(plan, call.error)
            return
        if plan.then is nothing:
            self._transport.send(_NOTHING)
            return
        if plan.then is only and (pieces := pair_around(call.out[0])):
            self._transport.send(pieces)
            return
        if len(call.out) > _MANY or (type(call.result) is list and len(call.result) > _MANY):
            self._plan, result, out = _ELSEWHERE, call.result, call.out
            self._dispatcher.beside.run(lambda: self._finish(plan, result, out))
            return
        try:
            outcome = plan.then(call.result, call.out)
        except Exception as err:  # noqa: BLE001 - as above
            self._reply_failure(err, plan.key)
            return
        if isinstance(outcome, Plan) and outcome.lets_others:
            self._plan = _ELSEWHERE
            self._dispatcher.beside.run(lambda: partial(self._opened, outcome))
            return
        self._act(outcome)

    def _finish(self, plan: Plan, result: Any, out: Sequence[Blob]) -> Callable[[], None]:
        """Make a reply of a large answer, beside the loop; return what is left to do."""
        try:
            outcome = plan.then(result, out)
            if isinstance(outcome, Plan | NewProxy):
                return partial(self._opened, outcome)
            return partial(self._send_made, self._encoded(RETURN, outcome))
        except Exception as err:  # noqa: BLE001 - as above
            return partial(self._refused, failure(err, plan.key, one_shot=not self._persistent))

    def _send_made(self, data: bytes) -> None:
        self._plan = None
        if not self._over:
            self._transport.send(stock_frame(data))

    # -- objects of the operator's own ---------------------------------------------------------------

    def _check_may_use(self, what: str) -> None:
        """Refuse an observer; what the engine does is looked at by the dispatcher."""
        if self._access == "observe":
            raise needs("client", self._access, what)

    def _elsewhere(self, accepted: bool) -> Plan:
        """Note that a thread has this request now, or refuse it."""
        if not accepted:
            raise RuntimeError(
                "all threads for registered objects are busy and too many calls wait for one; try again later"
            )
        return _ELSEWHERE

    def _made(self, made: Made | None, reply: bytes) -> None:
        """Give a new object its place in the engine, or send why there is none."""
        if made is None or self._over:
            self._called(made, reply)
            return
        self._plan = None
        self._act(self._registered.plan_for(made))

    def _called(self, made: Made | None, reply: bytes) -> None:
        """Send what a thread made of the request."""
        self._plan = None
        if made is not None:
            self._registered.drop(made)
        elif not self._over:
            self._transport.send(stock_frame(reply))

    def _fail(self, plan: Plan, error: errors.MpserveError) -> None:
        if isinstance(plan.key, Default) and isinstance(error, errors.KeyMissing):
            self._send_result(plan.key.value)
        else:
            self._reply_failure(error, plan.key)

    # -- replies ---------------------------------------------------------------------------------

    def _send_result(self, result: Any) -> None:
        if isinstance(result, NewProxy):
            self._kinds[result.ident] = result.kind
            token = self._token(result.typeid, result.ident)
            self._reply(PROXY, (FACES[result.kind].EXPOSED, token))
        else:
            self._reply(RETURN, result)

    def _reply_failure(self, err: Exception, key: Any) -> None:
        self._reply(*failure(err, key, one_shot=not self._persistent))

    def _reply(self, kind: str, value: Any) -> None:
        self._transport.send(stock_frame(self._encoded(kind, value)))

    def _encoded(self, kind: str, value: Any) -> bytes:
        try:
            return self._encode(kind, value)
        except Exception as err:  # noqa: BLE001 - the reply may be made in the course of another peer's call
            return self._encode(UNSERIALIZABLE, f"{type(err).__name__}: {err}")

    def _encode(self, kind: str, value: Any) -> bytes:
        if kind is RETURN and (value is None or value is True or value is False):
            return _BARE[value]
        if type(value) in _PLAIN:
            return pickle.dumps((kind, value), 4)
        if kind is RETURN and type(value) is Opaque and not value.buffers:
            size = struct.pack("<Q", len(value.data))
            return b"".join((_LOADS, b"\x8e", size, value.data, b"\x85R", PAIR_ENDS))
        return symbolic.dump((kind, value), face=self._face())

    def _address(self) -> Any:
        limits = self._dispatcher.limits
        advertised = limits.advertise
        if advertised and limits.advertise_stock:
            host, _, port = advertised.rpartition(":")
            return host.strip("[]"), int(port)
        return self._transport.dialled()

    def _face(self) -> Stock:
        of_registered = self._registered.exposed
        return Stock(self._address(), {**EXPOSED, **of_registered} if of_registered else EXPOSED)

    def _token(self, typeid: str, ident: str) -> Stub:
        return token(typeid, self._address(), ident)

    # -- functions of the manager's server -------------------------------------------------------

    def _dummy(self) -> None:
        return None

    def _accept_connection(self, name: Any) -> None:
        _ = name
        self._persistent = True

    def _create(self, typeid: Any, /, *args: Any, **kwds: Any) -> Plan:
        if type(typeid) is not str:
            raise TypeError(f"a typeid is a string, not {type(typeid).__name__}")
        if typeid in self._registered:
            self._check_may_use(f"to make a {typeid:.60}")
            return self._elsewhere(self._registered.create(typeid, (args, kwds), self._made))
        if typeid not in CREATORS:
            raise errors.BadValue(
                f"the server makes no {typeid!r:.80}; it makes {', '.join(sorted(CREATORS))}"
            )
        kind, create = CREATORS[typeid]
        plan: Plan = create(*args, **kwds)
        # An AutoProxy whose every attribute is a remote call never gets as far as its first one.
        exposed = () if typeid == "get_namespace" else FACES[kind].EXPOSED
        finish_with(plan, lambda opened, _out: (opened[0], exposed))
        return plan

    def _get_methods(self, token: Any) -> tuple[str, ...]:
        ident = token_ident(token)
        kind = self._find_kind(ident)
        return self._registered.methods(ident) if kind == "registered" else FACES[kind].EXPOSED

    def _incref(self, ident: Any) -> Plan:
        if type(ident) is not str:
            raise no_object(ident)
        return Plan("cluster.adopt", [[ident]], then=lambda _r, _o: None)

    def _decref(self, ident: str) -> Plan:
        return Plan(
            "cluster.drop", [[[ident, 1]]], then=lambda _r, _o: self._registered.forget_if_gone(ident)
        )

    def _number_of_objects(self) -> Plan:
        return Plan("cluster.count")

    def _debug_info(self) -> Plan:
        return Plan("cluster.status", then=debug_text)

    def _shutdown(self) -> Plan:
        return Plan("cluster.shutdown", then=lambda _r, _o: None)


EXPOSED: Final = {kind: face.EXPOSED for kind, face in FACES.items()}

_PUBLIC: Final[dict[str, Callable[..., Any]]] = {
    "dummy": StockSide._dummy,
    "accept_connection": StockSide._accept_connection,
    "create": StockSide._create,
    "get_methods": StockSide._get_methods,
    "incref": StockSide._incref,
    "decref": StockSide._decref,
    "number_of_objects": StockSide._number_of_objects,
    "debug_info": StockSide._debug_info,
    "shutdown": StockSide._shutdown,
}
