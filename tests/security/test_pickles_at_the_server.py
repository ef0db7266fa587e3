"""Pickles against a real server: whatever they are and wherever they stand, nothing runs, nobody waits.

What the reader of pickles makes of each is tested in `tests/unit/test_symbolic_attacks.py`.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from typing import Any

import pytest
from tests.integration.raw import Raw, raw_of
from tests.security.attackers import Attacked, Canary, Stock, request, text, unharmed
from tests.security.pickles import HEAVY, RUNNING, whole
from tests.unit.net.stage import Closed, RawClient

from mpshared.values import PICKLE, PickledKey, Value
from mpshared.wire.own.frames import Failed, Reply, Type

# -- the standard library's protocol -----------------------------------------------------------------


class Objects:
    """One object of each kind that looks at what it is given, for a stock client."""

    def __init__(self, server: Attacked) -> None:
        self.stock = Stock(server)
        create = self.stock.create
        self.list, self.dict = create("list"), create("dict")
        self.set, self.queue = create("set"), create("Queue")
        self.namespace, self.value = create("Namespace"), create("Value", text("i") + b"K\x01")
        self.array = create("Array", text("i") + b"](K\x01e")
        self.lock, self.event = create("Lock"), create("Event")

    def requests(self, evil: bytes) -> list[bytes]:
        """Return requests that have a pickle's opcodes at each place where there may be some."""
        one = b"](" + evil + b"e"
        pair = b"](" + evil + b"K\x01\x86e"
        return [
            request(self.list, "append", evil),
            request(self.list, "extend", one),
            request(self.list, "__contains__", evil),
            request(self.list, "count", evil),
            request(self.list, "index", evil),
            request(self.list, "remove", evil),
            request(self.list, "__getitem__", evil),
            request(self.list, "__setitem__", b"cbuiltins\nslice\nK\x00K\x00N\x87R" + one),
            request(self.list, "__imul__", evil),
            request(self.list, "sort", b"", text("key") + evil),
            request(self.dict, "__setitem__", text("key") + evil),
            request(self.dict, "__setitem__", evil + b"K\x01"),
            request(self.dict, "get", evil),
            request(self.dict, "update", pair),
            request(self.dict, "update", b"", text("name") + evil),
            request(self.set, "add", evil),
            request(self.set, "union", one),
            request(self.queue, "put", evil),
            request(self.queue, "get", evil + b"K\x00"),
            request(self.namespace, "__setattr__", text("name") + evil),
            request(self.namespace, "__getattribute__", evil),
            request(self.value, "set", evil),
            request(self.array, "__setitem__", b"K\x00" + evil),
            request(self.lock, "acquire", b"\x89" + evil),
            request(self.event, "wait", b"", text("timeout") + evil),
            request(self.list, "append", b"K\x01", evil + b"K\x01"),
            b"\x80\x04(" + evil + text("append") + b"(K\x01t}t.",
            b"\x80\x04(" + text(self.list) + evil + b")}t.",
            b"\x80\x04(" + text(self.list) + text("append") + evil + b"}t.",
            b"\x80\x04(" + text(self.list) + text("append") + b")" + evil + b"t.",
            whole(evil),
            evil + b".",
        ]

    def one_shots(self, evil: bytes) -> list[bytes]:
        one = b"](" + evil + b"e"
        return [
            request("", "create", evil),
            request("", "create", text("list") + one),
            request("", "create", text("dict") + b"](" + evil + b"K\x01\x86e"),
            request("", "create", text("Value") + text("i") + evil),
            request("", "create", text("Barrier") + b"K\x02" + evil),
            request("", "create", text("Queue") + evil),
            request("", "incref", evil),
            request("", "get_methods", evil),
        ]


READS = [
    ("list", "__str__"), ("list", "reverse"), ("list", "sort"), ("list", "__len__"),
    ("dict", "__str__"), ("dict", "keys"), ("dict", "copy"), ("set", "__str__"), ("namespace", "__repr__"),
    ("value", "get"), ("queue", "qsize"), ("list", "#GETVALUE"),
]  # fmt: skip
"""What is then done with all that was stored."""


@pytest.fixture(scope="module")
def objects(server) -> Objects:
    return Objects(server)


@pytest.mark.parametrize("table", [RUNNING, HEAVY], ids=["running", "heavy"])
def test_nothing_that_stock_clients_send_runs_or_harms(server, objects, table):
    once = Stock(server, persistent=False)
    with unharmed(server, grows_bytes=256 << 20):
        for evil in table.values():
            for payload in objects.requests(evil)[:: 1 if table is RUNNING else 2]:
                objects.stock.ask(payload)
        for evil in [*table.values()][:: 1 if table is RUNNING else 3]:
            for payload in objects.one_shots(evil):
                once.ask(payload)
                once.close()
                once = Stock(server, persistent=False)
        for name, method in READS:
            assert objects.stock.ask(request(getattr(objects, name), method)) is not None, method
    once.close()


# -- our own protocol -----------------------------------------------------------------------------------


class OwnObjects:
    """The same for our protocol, whose values the server opens only to compare them."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.program = raw.program()
        self.idents = {kind: self._open(kind) for kind in KINDS}

    def _open(self, kind: str) -> str:
        blobs = [pickle.dumps(1)] if kind == "value" else []
        args = kind, f"attacked {kind}", {}, False, None
        ident: str = self.program.call("cluster.open", "", *args, blobs=blobs).result[0]
        return ident

    def ask(self, name: str, *args: Any, blobs: Any = ()) -> None:
        """Make a call; an error is an answer, and so is the end of the connection."""
        program, target = self.program, self.idents.get(name.partition(".")[0], "")
        try:
            program.send(program.encode(name, target, *args, blobs=blobs))
            event = program.next_event()
            assert isinstance(event, Reply | Failed)
            if event.number:
                return
        except (Closed, ConnectionError):
            pass
        self.program = self.raw.program()

    def attack(self, evil: bytes) -> None:
        data = whole(evil)
        key, beside = PickledKey(data), Value(PICKLE, data, (data,), ("0123456789abcdef",))
        for name, args, blobs in (
            ("list.append", [], [data]),
            ("list.append", [], [beside]),
            ("list.contains", [], [data]),
            ("list.contains", [], [beside]),
            ("list.index", [0, None], [data]),
            ("list.remove", [], [data]),
            ("list.incr", [0, 1], []),
            ("list.cas", [0], [data, data]),
            ("list.sort", [False], []),
            ("dict.set", [key], [data]),
            ("dict.get", [key], []),
            ("dict.set", ["value"], [data]),
            ("dict.incr", ["value", 1], []),
            ("dict.cas", ["value", True, True], [beside, data]),
            ("dict.update", [[key, key]], [data, data]),
            ("dict.keys", [], []),
            ("set.add", [key], []),
            ("set.update", [[key, "plain"]], []),
            ("set.symmetric_difference_update", [[key]], []),
            ("value.set", [], [data]),
            ("value.incr", [1], []),
            ("value.cas", [], [data, beside]),
            ("namespace.set", ["name"], [data]),
            ("namespace.incr", ["name", 1], []),
            ("queue.put", [None], [data]),
            ("queue.put", [None], [beside]),
            ("pipe.send", [], [data]),
            ("cluster.open", [key, None, {}, False, None], []),
            ("cluster.open", ["dict", None, {"x": key}, False, None], [data]),
            ("cluster.adopt", [[key]], []),
            ("cluster.delete", [key, None], []),
            ("cluster.report_death", ["session", {"how": key}], []),
        ):
            self.ask(name, *args, blobs=blobs)


KINDS = ("list", "dict", "set", "value", "namespace", "queue", "event")


@pytest.mark.parametrize("table", [RUNNING, HEAVY], ids=["running", "heavy"])
def test_nothing_that_our_own_clients_send_runs_or_harms(server, raw, table):
    objects = OwnObjects(raw)
    with unharmed(server, grows_bytes=256 << 20):
        for evil in table.values():
            objects.attack(evil)


@pytest.mark.parametrize("name", RUNNING)
def test_nor_does_anything_in_frames_that_are_no_calls(raw, server, name):
    key = PickledKey(whole(RUNNING[name]))
    with unharmed(server):
        for body in ({"new": key}, {"new": {"role": key}}, {"session": key, "secret": key, "lane": key}):
            client = raw.client().shake_hands()
            _attach(client, body)


def _attach(client: RawClient, body: dict[str, Any]) -> None:
    client.control(Type.ATTACH, body=body)
    assert isinstance(client.next_event(), Failed)


# -- journal and restart ----------------------------------------------------------------------------------


def test_what_was_stored_does_not_run_when_the_journal_is_read(fresh_server, tmp_path):
    server = fresh_server("--data", str(tmp_path / "data"))
    with raw_of(server) as raw:
        program, stock = raw.program(), Objects(server)
        for evil in RUNNING.values():
            data = whole(evil)
            program.call("list.append", program.open("list", "n"), blobs=[data])
            stock.stock.ask(request(stock.list, "append", evil))
            stock.stock.ask(request(stock.dict, "__setitem__", evil + evil))
    server.send_signal(signal.SIGKILL)
    server.wait()
    server.start()
    with raw_of(server) as raw, unharmed(server):
        program = raw.program()
        assert program.call("list.len", program.open("list", "n")).result == len(RUNNING)


def test_the_canary_sings_when_something_runs(tmp_path):
    """Else all of this would show nothing."""
    for name in ("REDUCE of os.system", "__setstate__", "the import of a name", "a pickle within"):
        canary = Canary(tmp_path / name.replace(" ", "_"))
        program = f"import pickle; pickle.loads({whole(RUNNING[name])!r})"
        assert not canary.sang
        subprocess.run([sys.executable, "-c", program], env=canary.environment, check=False, timeout=20)
        assert canary.sang, name
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(whole(HEAVY["bytes of 2 GiB"]))
