"""A plain command line read by the table, and that it means the same to typer."""

from __future__ import annotations

import os
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpclient.worker import commands as worker_commands
from mpclient.worker import working
from mpserve.cli import commands, starting
from mpshared import settings
from mpshared.address import Address
from mpshared.arguments import read_plain
from mpshared.command import make_app, run
from mpshared.options import option
from mpshared.settings import TABLE

SETTINGS = (
    settings.PORT,
    settings.GRACE,
    settings.ADVERTISE,
    settings.REGISTER,
    settings.MD5,
    settings.INSECURE,
    settings.AUTHKEY_FILE,
)
WORDS = [
    "--port",
    "--grace",
    "--md5",
    "--insecure",
    "--register",
    "--advertise",
    "--prot",
    "--help",
    "-h",
    "--",
]
VALUES = ["0", "80", "x", "30s", "never", "m:C", "h:1", "[::1]:2", "", "-1", "a b"]
JOINED = ["--port=5", "--port=", "--insecure=1", "--md5=NEVER", "--register=a:A", "--grace=1m"]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for setting in TABLE:
        monkeypatch.delenv(setting.env, raising=False)


def by_typer(words: list[str]) -> dict[str, Any] | None:
    """Return what typer makes of the words, None where it refuses them or prints its help."""
    read: list[dict[str, Any]] = []
    app = make_app("test")

    @app.command()
    def command(
        port: Annotated[int, option(settings.PORT)] = settings.PORT.default,
        grace: Annotated[float, option(settings.GRACE)] = settings.GRACE.default,
        advertise: Annotated[Any, option(settings.ADVERTISE)] = settings.ADVERTISE.default,
        register: Annotated[list[str] | None, option(settings.REGISTER)] = None,
        md5: Annotated[str, option(settings.MD5)] = settings.MD5.default,
        insecure: Annotated[bool, option(settings.INSECURE)] = settings.INSECURE.default,
        authkey_file: Annotated[Any, option(settings.AUTHKEY_FILE)] = settings.AUTHKEY_FILE.default,
    ) -> None:
        read.append({**locals(), "register": tuple(register or ())})

    run(app, "test", words)
    return {k: v for k, v in read[0].items() if k != "read"} if read else None


def test_defaults():
    assert read_plain([], SETTINGS) == {
        "port": 7707,
        "grace": 0.5,
        "advertise": None,
        "register": (),
        "md5": "loopback",
        "insecure": False,
        "authkey_file": None,
    }


def test_every_sort_of_option():
    words = "--port 0 --grace=1m --advertise [::1]:2 --md5 NEVER --register a:A --register b:B --insecure"
    read = read_plain(words.split(), SETTINGS)
    assert read is not None
    assert read | {"authkey_file": "x"} == {
        "port": 0,
        "grace": 60.0,
        "advertise": Address.parse("[::1]:2"),
        "register": ("a:A", "b:B"),
        "md5": "never",
        "insecure": True,
        "authkey_file": "x",
    }


def test_an_option_wins_over_its_variable(monkeypatch):
    monkeypatch.setenv("MPSERVE_PORT", "1")
    monkeypatch.setenv("MPSERVE_GRACE", "2s")
    monkeypatch.setenv("MPSERVE_INSECURE", "1")
    read = read_plain(["--port", "5"], SETTINGS)
    assert read is not None
    assert (read["port"], read["grace"], read["insecure"]) == (5, 2.0, True)


@pytest.mark.parametrize(
    "words", [["--help"], ["--prot", "1"], ["--port"], ["--port", "x"], ["--port", "--md5"], ["extra"]]
)
def test_what_is_not_plain_is_left_to_typer(words):
    assert read_plain(words, SETTINGS) is None


def test_a_bad_variable_is_left_to_typer(monkeypatch):
    monkeypatch.setenv("MPSERVE_PORT", "x")
    assert read_plain([], SETTINGS) is None
    assert read_plain(["--port", "1"], SETTINGS) is not None


@given(st.lists(st.sampled_from(WORDS + VALUES + JOINED), max_size=6))
def test_what_is_read_means_the_same_to_typer(words):
    plain = read_plain(words, SETTINGS)
    if plain is not None:
        assert plain == by_typer(words)


def options_of(command: Any) -> set[str]:
    return {word for parameter in command.params for word in parameter.opts} - {"--help", "-h", "--version"}


def test_the_plain_commands_have_every_option_that_typer_has():
    """Both know the hidden ones; neither knows one that the other does not."""
    import typer

    server: Any = typer.main.get_command(commands.app)
    worker: Any = typer.main.get_command(worker_commands.app)
    for command, plain in ((server.commands["start"], starting), (worker, working)):
        assert {setting.option for setting in plain.SETTINGS} == options_of(command)
        assert set(os.environ) & {setting.env for setting in plain.SETTINGS} == set()


def test_a_worker_host_is_told_the_same_by_typer(monkeypatch):
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(working, "work", lambda **given: told.append(given))
    words = "--connect h:1 --processes 3 --pythonpath a --pythonpath=b --max-memory 1G --respawn --lifeline 5"
    for line in ([], words.split()):
        run(worker_commands.app, "mpworker", line)
        assert told.pop() == read_plain(line, working.SETTINGS)
