"""Command line options that come out of the table of settings."""

import os
import re
import subprocess
import sys
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from mpshared import settings
from mpshared.address import Address
from mpshared.options import option
from mpshared.settings import TABLE, User, for_user


@pytest.fixture
def run(monkeypatch):
    """Run a command with one option of each sort; return its exit code and what it printed."""
    for setting in TABLE:
        monkeypatch.delenv(setting.env, raising=False)
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    def start(
        port: Annotated[int, option(settings.PORT)] = settings.PORT.default,
        grace: Annotated[float, option(settings.GRACE)] = settings.GRACE.default,
        advertise: Annotated[Address | None, option(settings.ADVERTISE)] = None,
        md5: Annotated[str, option(settings.MD5)] = settings.MD5.default,
        register: Annotated[list[str] | None, option(settings.REGISTER)] = None,
        insecure: Annotated[bool, option(settings.INSECURE)] = settings.INSECURE.default,
    ) -> None:
        typer.echo(f"{port} {grace} {advertise} {md5} {register} {insecure}")

    def run(*arguments, **environ):
        result = CliRunner().invoke(app, arguments, env=environ)
        return result.exit_code, re.sub(r"\s+", " ", result.output).strip()

    return run


def test_defaults(run):
    assert run() == (0, "7707 0.5 None loopback None False")


def test_options(run):
    words = "--port 0 --grace 1m --advertise [::1]:2 --md5 NEVER --register a:A --register b:B --insecure"
    assert run(*words.split()) == (0, "0 60.0 [::1]:2 never ['a:A', 'b:B'] True")


def test_the_environment_counts_where_there_is_no_option(run):
    environ = {
        "MPSERVE_PORT": "1",
        "MPSERVE_GRACE": "2s",
        "MPSERVE_REGISTER": "a:A b:B",
        "MPSERVE_INSECURE": "0",
    }
    assert run("--port", "5", **environ) == (0, "5 2.0 None loopback ['a:A', 'b:B'] False")


def test_variables_set_to_nothing_do_not_count(run):
    empty = dict.fromkeys(("MPSERVE_PORT", "MPSERVE_GRACE", "MPSERVE_REGISTER", "MPSERVE_INSECURE"), "")
    assert run(**empty) == run()


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--port", "x"], "'x' is not a whole number; write one from 0 to 65535"),
        (["--grace", "soon"], "'soon' is not a duration; write it like 30s"),
        (["--advertise", "server"], "'server' has no port; write it like server:7707"),
        (["--md5", "sometimes"], "write one of loopback, always, never"),
    ],
)
def test_what_cannot_be_understood_is_answered_with_what_to_type(run, arguments, answer):
    code, output = run(*arguments)
    assert code == 2
    assert arguments[0] in output
    assert answer in output


def test_help_shows_variables_and_defaults_as_one_would_type_them(run):
    code, output = run("--help", COLUMNS="200")
    assert code == 0
    for text in ("MPSERVE_SESSION_TIMEOUT", "MPSERVE_GRACE"):
        assert (text in output) is (text == "MPSERVE_GRACE")
    assert "500ms" in output
    assert "One of: loopback, always, never." in output


@pytest.mark.parametrize(
    ("user", "command"), [("server", ["mpserve", "start"]), ("worker", ["mpclient.worker"])]
)
def test_the_commands_have_every_option_of_the_table(user: User, command):
    shown = subprocess.run(
        [sys.executable, "-m", *command, "--help"],
        env=os.environ | {"COLUMNS": "300", "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    missing = [
        setting.option
        for setting in for_user(user)
        if setting.option not in shown or setting.env not in shown
    ]
    assert missing == []
