"""The keys that let in: roles, replacing them while the server runs, and what is refused."""

from __future__ import annotations

import pytest

from mpserve.net.keyring import Keyring
from mpshared.keys import KeyProblem, read_key_file

CLIENT, ADMIN, NEW, NEWER = (
    f"the {word} key of the tests".encode() for word in ("client", "admin", "new", "newer")
)


class World:
    def __init__(self, folder):
        self.folder = folder
        self.now_s = 100.0

    def write(self, role, secret):
        path = self.folder / role
        path.write_bytes(secret)
        path.chmod(0o600)
        return path

    def ring(self, overlap_s, **secrets):
        keys = {role: read_key_file(self.write(role, secret)) for role, secret in secrets.items()}
        return Keyring(keys, overlap_s, lambda: self.now_s)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_each_key_has_its_role(world):
    ring = world.ring(10, client=CLIENT, admin=ADMIN)
    assert sorted(ring.accepted()) == [("admin", ADMIN), ("client", CLIENT)]
    assert ring.has("admin")
    assert not ring.has("observe")
    assert ring.get("client").secret == CLIENT


def test_a_replaced_key_lets_in_until_the_overlap_is_over(world):
    ring = world.ring(10, client=CLIENT, admin=ADMIN)
    world.write("client", NEW)
    assert ring.reload() == {"changed": "client", "before": "accepted for 10 s more"}
    world.now_s += 9.9
    assert sorted(ring.accepted()) == [("admin", ADMIN), ("client", CLIENT), ("client", NEW)]
    world.now_s += 0.1
    assert sorted(ring.accepted()) == [("admin", ADMIN), ("client", NEW)]


def test_without_an_overlap_it_is_refused_at_once(world):
    ring = world.ring(0, client=CLIENT)
    world.write("client", NEW)
    assert ring.reload() == {"changed": "client", "before": "refused"}
    assert list(ring.accepted()) == [("client", NEW)]


def test_each_has_the_time_it_was_promised(world):
    ring = world.ring(10, client=CLIENT)
    world.write("client", NEW)
    ring.reload()
    world.now_s += 6
    world.write("client", NEWER)
    ring.reload()
    assert sorted(ring.accepted()) == sorted(("client", key) for key in (CLIENT, NEW, NEWER))
    world.now_s += 6
    assert sorted(ring.accepted()) == sorted(("client", key) for key in (NEW, NEWER))


def test_one_that_comes_back_stays(world):
    ring = world.ring(10, client=CLIENT)
    for secret in (NEW, CLIENT):
        world.write("client", secret)
        ring.reload()
    world.now_s += 100
    assert list(ring.accepted()) == [("client", CLIENT)]


def test_nothing_new_is_told_so(world):
    ring = world.ring(10, client=CLIENT)
    assert ring.reload() == {"changed": "none"}
    assert list(ring.accepted()) == [("client", CLIENT)]


def test_a_key_that_is_in_no_file_stays_and_is_told_of():
    assert Keyring.of(CLIENT).reload() == {"changed": "none", "not_in_a_file": "client (its argument)"}


def test_one_bad_file_and_nothing_changes(world):
    ring = world.ring(10, client=CLIENT, admin=ADMIN)
    world.write("client", NEW)
    world.write("admin", b"short")
    with pytest.raises(KeyProblem, match="holds 5 bytes"):
        ring.reload()
    assert sorted(ring.accepted()) == [("admin", ADMIN), ("client", CLIENT)]


def test_two_roles_with_one_key_are_refused(world):
    with pytest.raises(KeyProblem, match=r"client.*admin.*hold the same key"):
        world.ring(10, client=CLIENT, admin=CLIENT)
    ring = world.ring(10, client=CLIENT, admin=ADMIN)
    world.write("admin", CLIENT)
    with pytest.raises(KeyProblem, match="hold the same key"):
        ring.reload()


def test_a_key_of_before_cannot_become_that_of_another_role_meanwhile(world):
    ring = world.ring(10, client=CLIENT, admin=ADMIN)
    world.write("client", NEW)
    world.write("admin", CLIENT)
    with pytest.raises(KeyProblem, match="still lets in with another role than admin"):
        ring.reload()
    assert sorted(ring.accepted()) == [("admin", ADMIN), ("client", CLIENT)]


def test_it_shows_no_key(world):
    ring = world.ring(10, client=CLIENT)
    world.write("client", NEW)
    assert CLIENT.decode() not in f"{ring!r}{ring.reload()!r}{ring._old!r}"
