"""Keys of three roles, at the real server: what each may, by programs, commands and standard-library clients;
and how they are replaced while it runs.
"""

from __future__ import annotations

import os
import queue
import secrets
import signal
import socket
import ssl
import threading
from dataclasses import dataclass, field
from multiprocessing.connection import Client
from multiprocessing.managers import BaseManager, SyncManager, dispatch  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

import pytest
from tests.integration import commands, encrypted, workers
from tests.integration.conftest import Server
from tests.integration.encrypted import keywords, options

import mpclient
from mpclient.testing import wait_until
from mpshared.wire.tls import channel_of

home = commands.home
made = encrypted.made
mpworker = workers.mpworker
LIMIT_S = 20.0
OPTIONS = {"client": "--authkey-file", "admin": "--admin-key-file", "observe": "--observe-key-file"}


@dataclass
class Keys:
    """Three key files, and the server that has them."""

    folder: Path
    roles: tuple[str, ...] = ("client", "admin", "observe")
    secrets: dict[str, str] = field(default_factory=dict)
    server: Any = None

    def __post_init__(self):
        self.folder.mkdir()
        for role in self.roles:
            self.make(role)

    def file(self, role):
        return str(self.folder / role)

    def make(self, role):
        """Put a new key into a role's file; return the one of before."""
        before = self.secrets.get(role)
        self.write(role, secrets.token_hex(16))
        return before

    def write(self, role, text, mode=0o600):
        self.secrets[role] = text
        path = Path(self.file(role))
        draft = path.with_suffix(".new")
        draft.write_text(text + "\n")
        draft.chmod(mode)
        draft.replace(path)

    @property
    def options(self):
        return [word for role in self.roles for word in (OPTIONS[role], self.file(role))]

    def connect(self, role, **more):
        return mpclient.connect(
            self.server.address,
            authkey_file=self.file(role),
            **{"connect_timeout": 10, "reconnect_timeout": 5} | more,
        )

    @property
    def where(self):
        host, _, port = self.server.address.rpartition(":")
        return host, int(port)

    def manager(self, role, kind=SyncManager, key=None):
        manager = kind(self.where, authkey=(key or self.secrets[role]).encode())
        manager.connect()
        return manager

    def reload(self, event="keys.reloaded"):
        """Have the server read its files; wait until it has."""
        before = self.server.log.count(f'"{event}"')
        self.server.send_signal(signal.SIGHUP)
        wait_until(lambda: self.server.log.count(f'"{event}"') > before, LIMIT_S)


def started(folder, roles=("client", "admin", "observe"), more=()):
    keys = Keys(folder / "keys", roles)
    keys.server = Server(folder / "server", (*keys.options, *more)).start()
    return keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roles")
    keys = started(folder, more=("--register", "tests.stdlib.shop:Till"))
    yield keys
    keys.server.stop()


@pytest.fixture
def own(tmp_path):
    """Make servers that a test changes."""
    all_keys = []

    def start(*more, roles=("client", "admin", "observe")):
        all_keys.append(started(tmp_path, roles, more))
        return all_keys[-1]

    yield start
    for keys in all_keys:
        keys.server.stop()


def refused(has, needs):
    return pytest.raises(
        mpclient.NotAllowed, match=f"needs the {needs} key, and this program has the {has} key"
    )


class TestPrograms:
    def test_an_observer_sees_and_touches_nothing(self, keys, unique):
        with keys.connect("client") as client, keys.connect("observe") as observer:
            client.dict({"a": 1}, name=unique)
            assert unique in [each["name"] for each in observer.objects()]
            assert unique in [each["name"] for each in observer.status()["objects"]]
            with refused("observe", "client") as caught:
                observer.dict(name=unique)
            assert f"cluster.open of dict '{unique}'" in str(caught.value)
            for use in (observer.list, observer.Queue, observer.Lock, lambda: observer.delete(unique)):
                with refused("observe", "client|admin"):
                    use()
            assert observer.status()["objects"]
            assert client.dict(name=unique)["a"] == 1

    def test_a_client_uses_objects_and_is_no_operator(self, keys, unique):
        with keys.connect("client") as client, keys.connect("client") as other:
            jobs = client.Queue(name=unique)
            jobs.put(1)
            assert other.Queue(name=unique).get(timeout=10) == 1
            with refused("client", "admin") as caught:
                jobs.clear()
            assert f"queue.clear of queue '{unique}'" in str(caught.value)
            with refused("client", "admin"):
                jobs.dead.requeue()
            with refused("client", "admin") as caught:
                other.delete(unique)
            assert f"cluster.delete of '{unique}'" in str(caught.value)
            assert client.delete(unique)
            client.Queue(name=unique).put(1)
            assert other.Queue(name=unique, fresh=True).empty()
            assert other.delete(unique)

    def test_an_admin_operates(self, keys, unique):
        with keys.connect("client") as client, keys.connect("admin") as admin:
            client.Queue(name=unique).put(1)
            wait_until(lambda: admin.Queue(name=unique).qsize() == 1, LIMIT_S)
            assert admin.Queue(name=unique).clear() == 1
            assert admin.delete(unique)

    def test_no_worker_has_the_observers_key(self, keys, mpworker, unique):
        host = mpworker(keys.server, "--authkey-file", keys.file("observe"), queue=unique)
        assert host.wait() != 0
        assert "needs the client key, and this program has the observe key" in host.text

    def test_a_worker_has_the_clients_key(self, keys, mpworker, unique):
        host = mpworker(keys.server, "--authkey-file", keys.file("client"), queue=unique).ready()
        with keys.connect("client") as client:
            client.JoinableQueue(name=unique).put(os.getpid)
            assert client.Queue(name=f"{unique} results").get(timeout=10) > 0
        assert host.process.poll() is None

    def test_without_an_admin_key_a_client_operates(self, own, unique):
        keys = own(roles=("client",))
        with keys.connect("client") as client, keys.connect("client") as other:
            jobs = client.Queue(name=unique)
            assert jobs.clear() == 0
            assert other.delete(unique)

    def test_roles_stay_over_a_restart(self, own, tmp_path, unique):
        keys = own("--data", str(tmp_path / "data"))
        with (
            keys.connect("client") as client,
            keys.connect("admin") as admin,
            keys.connect("observe") as observer,
        ):
            mine = client.dict({"a": 1}, name=unique)
            port = keys.where[1]
            assert observer.status()["objects"]
            assert admin.list([1])[0] == 1
            keys.server.process.kill()
            keys.server.wait()
            keys.server.start(port=port)
            assert mine["a"] == 1
            assert [each["name"] for each in observer.objects()] == [unique]
            with refused("observe", "client"):
                observer.dict(name=unique)
            with refused("client", "admin"):  # nobody knows any more who made it
                client.delete(unique)
            assert admin.delete(unique)


class TestCommands:
    def run(self, home, keys, role, *words):
        return home.run(*words, "--connect", keys.server.address, "--authkey-file", keys.file(role))

    @pytest.mark.parametrize("role", ["observe", "client", "admin"])
    def test_everybody_may_look(self, home, keys, unique, role):
        with keys.connect("client") as client:
            client.dict(name=unique)
            done = self.run(home, keys, role, "status")
            assert (done.returncode, done.stderr) == (0, "")
            assert unique in done.stdout
            for word in ("ping", "why"):
                assert self.run(home, keys, role, word).returncode == 0

    @pytest.mark.parametrize(("role", "has"), [("observe", "observe"), ("client", "client")])
    def test_operators_only(self, home, keys, unique, role, has):
        with keys.connect("client") as client:
            client.Lock(name=unique)
            for word, op in (("rm", "delete"), ("release", "release")):
                done = self.run(home, keys, role, word, unique)
                assert done.returncode == 1
                [line] = done.stderr.splitlines()
                assert (
                    f"cluster.{op} of '{unique}' needs the admin key, and this program has the {has} key"
                    in line
                )
            assert self.run(home, keys, "admin", "rm", unique).returncode == 0
            assert unique not in [each["name"] for each in client.objects()]

    def test_equal_keys_are_refused_at_the_start(self, home, tmp_path):
        keys = Keys(tmp_path / "keys")
        keys.write("admin", keys.secrets["client"])
        done = home.run("start", "--port", "0", *keys.options)
        assert done.returncode == 4
        [line] = done.stderr.splitlines()
        assert "hold the same key, for the roles" in line
        assert keys.secrets["client"] not in line

    @pytest.mark.parametrize(
        ("role", "variable"), [("admin", "MPSERVE_ADMIN_KEY_FILE"), ("observe", "MPSERVE_OBSERVE_KEY_FILE")]
    )
    def test_a_bad_file_is_refused_at_the_start(self, home, tmp_path, role, variable):
        keys = Keys(tmp_path / "keys")
        Path(keys.file(role)).chmod(0o644)
        done = home.run("start", "--port", "0", *keys.options)
        assert done.returncode == 4
        assert f"chmod 600 {keys.file(role)}" in done.stderr
        done = home.run("start", "--port", "0", environment={variable: "/no/such/file"})
        assert done.returncode == 4
        assert variable in done.stderr


class Till(BaseManager):
    """A standard-library client of a registered class."""


Till.register("Till")


class TestStandardLibrary:
    def test_an_observer(self, keys):
        manager = keys.manager("observe")
        assert manager._number_of_objects() >= 0
        assert isinstance(manager._debug_info(), str)
        for use in (manager.dict, manager.Queue, manager.Lock):
            with pytest.raises(
                PermissionError, match="needs the client key, and this program has the observe key"
            ):
                use()
        with pytest.raises(PermissionError, match="to make a Till needs the client key"):
            keys.manager("observe", Till).Till(1.0)
        with pytest.raises(PermissionError, match=r"cluster\.shutdown needs the admin key"):
            self.shut_down(keys, "observe")

    def test_an_observer_uses_no_object_that_it_knows_of(self, keys):
        mine = keys.manager("client").dict(a=1)
        till = keys.manager("client", Till).Till(1.0)
        for proxy, method in ((mine, "copy"), (till, "last")):
            with Client(keys.where, authkey=keys.secrets["observe"].encode()) as connection:
                dispatch(connection, None, "accept_connection", ("test",))
                with pytest.raises(PermissionError, match="needs the client key"):
                    dispatch(connection, proxy._token.id, method)

    def test_a_client(self, keys):
        manager = keys.manager("client")
        jobs = manager.Queue()
        jobs.put(1)
        assert jobs.get(timeout=10) == 1
        assert manager.dict(a=1).copy() == {"a": 1}
        assert str(keys.manager("client", Till).Till(1.0)) == "Till(1.0)"
        with pytest.raises(PermissionError, match="needs the admin key, and this program has the client key"):
            self.shut_down(keys, "client")

    def shut_down(self, keys, role):
        with Client(keys.where, authkey=keys.secrets[role].encode()) as connection:
            dispatch(connection, None, "shutdown")

    def test_an_admin_stops_the_server(self, own):
        keys = own()
        assert keys.manager("admin").dict(a=1).copy() == {"a": 1}
        self.shut_down(keys, "admin")
        assert keys.server.wait() == 0


class TestReplaced:
    def test_the_keys_of_before_are_good_for_a_time(self, own, unique):
        keys = own()
        first = dict(keys.secrets)
        with keys.connect("client") as here:
            mine = here.dict({"a": 1}, name=unique)
            for role in keys.roles:
                keys.make(role)
            keys.reload()
            for each in (first, keys.secrets):
                with mpclient.connect(keys.server.address, each["client"]) as client:
                    assert client.dict(name=unique)["a"] == 1
                    with refused("client", "admin"):
                        client.delete(unique)
                with (
                    mpclient.connect(keys.server.address, each["observe"]) as observer,
                    refused("observe", "client"),
                ):
                    observer.dict(name=unique)
                assert keys.manager("client", key=each["client"]).dict(a=1).copy() == {"a": 1}
            assert mine["a"] == 1
            with mpclient.connect(keys.server.address, first["admin"]) as admin:
                assert admin.delete(unique)
        log = keys.server.log
        assert "client, admin, observe" in log
        assert "accepted for 3600 s more" in log
        assert [text for text in (*first.values(), *keys.secrets.values()) if text in log] == []

    def test_without_an_overlap_they_are_refused_and_who_is_there_goes_on(self, own):
        keys = own("--key-overlap", "0")
        first = keys.secrets["client"]
        with mpclient.connect(keys.server.address, first) as by_text, keys.connect("client") as by_file:
            ours, theirs = by_text.list([1]), by_file.list([1])
            keys.make("client")
            keys.reload()
            assert ours[0] == theirs[0] == 1
            with pytest.raises(mpclient.NotAllowed, match="the keys differ"):
                mpclient.connect(keys.server.address, first, connect_timeout=5)
            with pytest.raises(Exception, match="digest|key|closed|refused|reset"):  # as its Python has it
                keys.manager("client", key=first)
            got = queue.SimpleQueue()
            thread = threading.Thread(target=lambda: got.put(theirs[0]))  # by a connection of its own
            thread.start()
            assert got.get(timeout=LIMIT_S) == 1
            thread.join(LIMIT_S)

    def test_workers_go_on_with_the_new_key(self, own, mpworker, unique):
        keys = own("--key-overlap", "0")
        host = mpworker(
            keys.server, "--authkey-file", keys.file("client"), "--max-tasks", "1", queue=unique
        ).ready()
        keys.make("client")
        keys.reload()
        with keys.connect("client") as client:
            jobs, results = client.JoinableQueue(name=unique), client.Queue(name=f"{unique} results")
            pids = set()
            for _ in range(3):
                jobs.put(os.getpid)
                pids.add(results.get(timeout=LIMIT_S))
            assert len(pids) == 3
        assert host.process.poll() is None

    @pytest.mark.parametrize(
        ("text", "mode", "why"), [("short", 0o600, "holds 5 bytes"), ("x" * 32, 0o644, "chmod 600")]
    )
    def test_a_bad_file_changes_nothing(self, own, text, mode, why):
        keys = own("--key-overlap", "0")
        first = dict(keys.secrets)
        keys.make("client")
        keys.write("admin", text, mode)
        keys.reload("keys.not_reloaded")
        assert why in keys.server.log
        for role in ("client", "admin"):
            with mpclient.connect(keys.server.address, first[role]) as cluster:
                assert cluster.list([1])[0] == 1
        with pytest.raises(mpclient.NotAllowed, match="the keys differ"):
            keys.connect("client")

    def test_a_key_that_is_text_stays(self, fresh_server):
        server = fresh_server()
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: "keys.reloaded" in server.log, LIMIT_S)
        assert "client (MPSERVE_AUTHKEY)" in server.log
        with server.connect() as cluster:
            assert cluster.list([1])[0] == 1


class TestCertificates:
    @pytest.fixture
    def served(self, made, tmp_path):
        files = made.server("127.0.0.1")
        server = Server(tmp_path / "tls", options(files))
        yield server.start(), files, made
        server.stop()

    def channel(self, server, made):
        """Return the name of the channel of a new connection."""
        files = made.client()
        with server.connect(**keywords(files)) as cluster:
            assert cluster.list([1])[0] == 1
            host, _, port = server.address.rpartition(":")
        context = ssl.create_default_context(cafile=files.ca)
        context.load_cert_chain(files.cert, files.key)
        with (
            socket.create_connection((host, int(port)), LIMIT_S) as sock,
            context.wrap_socket(sock, server_hostname=host) as tls,
        ):
            return channel_of(tls.getpeercert(binary_form=True))

    def test_new_connections_have_the_new_one(self, served):
        server, files, made = served
        before = self.channel(server, made)
        with server.connect(**keywords(made.client())) as cluster:
            mine = cluster.list([1])
            fresh = made.server("127.0.0.1")
            for old, new in ((files.cert, fresh.cert), (files.key, fresh.key)):
                Path(new).replace(old)
            server.send_signal(signal.SIGHUP)
            wait_until(lambda: '"tls.reloaded"' in server.log, LIMIT_S)
            assert self.channel(server, made) != before
            assert mine[0] == 1

    def test_a_bad_one_keeps_the_old(self, served):
        server, files, made = served
        before = self.channel(server, made)
        Path(files.cert).write_text("no certificate")
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: '"tls.not_reloaded"' in server.log, LIMIT_S)
        assert "holds no certificate in PEM form" in server.log
        assert self.channel(server, made) == before
