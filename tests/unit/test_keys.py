"""Where the key comes from, which keys are refused, and that nobody ever sees one."""

import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mpshared import keys
from mpshared.keys import Key, KeyProblem, default_key_file, find_key, make_key, read_key_file

TEXT = "a key of more than sixteen bytes"
OTHER = "another key of more than sixteen bytes"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Give the user a home of their own, without a key."""
    for name in ("MPSERVE_AUTHKEY", "MPSERVE_AUTHKEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert default_key_file().is_relative_to(tmp_path)
    return tmp_path


@pytest.fixture
def key_file(tmp_path):
    """Write a file with a key in it."""

    def write(data=b"another key of more than sixteen bytes", mode=0o600, name="key"):
        path = tmp_path / name
        path.write_bytes(data)
        path.chmod(mode)
        return path

    return write


def test_the_text_in_the_environment(monkeypatch):
    monkeypatch.setenv("MPSERVE_AUTHKEY", TEXT)
    key = find_key()
    assert (key.secret, key.source, key.file) == (TEXT.encode(), "MPSERVE_AUTHKEY", None)


def test_text_that_is_no_utf8_is_taken_byte_by_byte(monkeypatch):
    monkeypatch.setenv("MPSERVE_AUTHKEY", "x" * 16 + "\udcff")
    assert find_key().secret == b"x" * 16 + b"\xff"


def test_the_file_in_the_environment(key_file, monkeypatch):
    path = key_file()
    monkeypatch.setenv("MPSERVE_AUTHKEY_FILE", str(path))
    key = find_key()
    assert (key.secret, key.source, key.file) == (OTHER.encode(), str(path), path)


@pytest.mark.parametrize(("name", "value"), [("MPSERVE_AUTHKEY", TEXT), ("MPSERVE_AUTHKEY_FILE", "/nowhere")])
def test_the_option_wins_over_the_environment(key_file, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert find_key(key_file()).secret == OTHER.encode()


def test_two_variables_at_once_are_refused(key_file, monkeypatch):
    monkeypatch.setenv("MPSERVE_AUTHKEY", TEXT)
    monkeypatch.setenv("MPSERVE_AUTHKEY_FILE", str(key_file()))
    with pytest.raises(KeyProblem, match="both MPSERVE_AUTHKEY and MPSERVE_AUTHKEY_FILE are set.*unset one"):
        find_key()


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_one_newline_at_the_end_does_not_belong_to_the_key(key_file, end):
    assert read_key_file(key_file(OTHER.encode() + end)).secret == OTHER.encode()


def test_other_white_space_belongs_to_the_key(key_file):
    assert read_key_file(key_file(b" " * 15 + b"\n\n")).secret == b" " * 15 + b"\n"
    assert read_key_file(key_file(b"0123456789abcde\r")).secret == b"0123456789abcde\r"


@pytest.mark.parametrize("data", [b"", b"\n", b"15 bytes are 15", b"15 bytes are 15\n"])
def test_a_key_that_can_be_guessed_is_refused(key_file, data, monkeypatch):
    with pytest.raises(KeyProblem, match="a key under 16 bytes can be guessed. Make one with: python -c"):
        read_key_file(key_file(data))
    monkeypatch.setenv("MPSERVE_AUTHKEY", data.decode().strip())
    with pytest.raises(KeyProblem, match="MPSERVE_AUTHKEY holds"):
        find_key()


def test_what_is_no_key_at_all_is_refused(key_file):
    assert len(read_key_file(key_file(b"x" * 4096 + b"\r\n")).secret) == 4096
    with pytest.raises(KeyProblem, match="Is it the right file?"):
        read_key_file(key_file(b"x" * 1_000_000))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644, 0o777])
def test_a_file_that_others_may_open_is_refused(key_file, mode):
    path = key_file(mode=mode)
    with pytest.raises(KeyProblem, match=rf"mode 0{mode:o}.*Type: chmod 600 {path}$"):
        read_key_file(path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_ones_own_is_accepted(key_file, mode):
    assert read_key_file(key_file(mode=mode)).secret == OTHER.encode()


def test_a_secret_of_a_container_is_accepted_as_it_was_mounted(key_file, monkeypatch):
    path = key_file(mode=0o444)
    monkeypatch.setattr(keys, "_CONTAINER_SECRETS", path.parent)
    assert read_key_file(path).secret == OTHER.encode()


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(KeyProblem, match=r"cannot be read .* Name another one"):
            make_key(path)
    assert not (tmp_path / "nothing").exists()


def test_a_client_does_not_make_a_key():
    with pytest.raises(KeyProblem, match=r"no key: .*authkey does not exist.*chmod 600"):
        find_key()
    assert not default_key_file().exists()


def test_a_server_makes_one_that_clients_find():
    made = make_key()
    assert made.file == default_key_file()
    assert len(made.secret) >= 43  # 32 random bytes as text
    assert stat.S_IMODE(default_key_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(default_key_file().parent.stat().st_mode) == 0o700
    assert make_key().secret == find_key().secret == made.secret
    assert [path.name for path in default_key_file().parent.iterdir()] == ["authkey"]


def test_another_user_home_another_key(tmp_path, monkeypatch):
    first = make_key()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    assert make_key().secret != first.secret


def test_a_key_that_was_made_public_is_refused_not_replaced():
    secret = make_key().secret
    default_key_file().chmod(0o644)
    for use in (make_key, find_key):
        with pytest.raises(KeyProblem, match="chmod 600"):
            use()
    default_key_file().chmod(0o600)
    assert find_key().secret == secret


def test_where_no_file_can_be_made(tmp_path):
    (tmp_path / "config").write_text("a file where the folder should be")
    with pytest.raises(KeyProblem, match="cannot be made.*name it with MPSERVE_AUTHKEY_FILE"):
        make_key()


def test_a_disk_that_fills_up_leaves_no_half_key(monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyProblem, match="No space left on device"):
        make_key()
    assert list(default_key_file().parent.iterdir()) == []


def test_who_comes_second_takes_the_first_ones_key(monkeypatch):
    link = os.link

    def beaten(draft, path):
        Path(path).write_bytes(b"the key of the first one\n")
        Path(path).chmod(0o600)
        link(draft, path)

    monkeypatch.setattr(os, "link", beaten)
    assert make_key().secret == b"the key of the first one"
    assert [path.name for path in default_key_file().parent.iterdir()] == ["authkey"]


def test_many_who_start_at_once_agree():
    program = "import mpshared.keys as k, hashlib; print(hashlib.sha256(k.make_key().secret).hexdigest())"
    children = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    answers = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0] * 6
    assert len(set(answers)) == 1
    assert [path.name for path in default_key_file().parent.iterdir()] == ["authkey"]


def test_a_key_is_never_shown_and_never_travels():
    key = Key(TEXT.encode(), "MPSERVE_AUTHKEY")
    assert TEXT not in repr(key) + str(key) + f"{key}"
    with pytest.raises(KeyProblem, match="not pickled"):
        pickle.dumps(key)


def test_no_refusal_holds_any_of_the_key(key_file):
    for data, mode in ((b"very hidden", 0o600), (OTHER.encode(), 0o644)):
        with pytest.raises(KeyProblem) as caught:
            read_key_file(key_file(data, mode))
        assert "hidden" not in str(caught.value)
        assert "another key" not in str(caught.value)
