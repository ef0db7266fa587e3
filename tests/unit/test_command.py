"""What the commands share: exit codes and last words."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from mpshared.command import fail, guard, make_app, run, say
from mpshared.exit_codes import ExitCode


def test_a_code_is_passed_on(capsys):
    assert guard("prog", lambda: 6) == 6
    assert capsys.readouterr() == ("", "")


def test_fail_is_one_escaped_line(capsys):
    assert guard("prog", lambda: fail("prog sub", ExitCode.BAD_KEY, "no\x1b[2J\nkey")) == ExitCode.BAD_KEY
    assert capsys.readouterr() == ("", "prog sub: no\\x1b[2J\\nkey\n")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (KeyboardInterrupt(), "prog: interrupted\n"),
        (OSError(errno.ENOSPC, "No space left"), f"prog: [Errno {errno.ENOSPC}] No space left\n"),
        (BrokenPipeError(), ""),
    ],
)
def test_what_is_no_bug_is_no_traceback(capsys, raised, said):
    def command() -> int:
        raise raised

    assert guard("prog", command) == ExitCode.FAILED
    assert capsys.readouterr() == ("", said)


def test_a_bug_is_one():
    with pytest.raises(ZeroDivisionError):
        guard("prog", lambda: 1 // 0)


def test_an_interrupt_within_typer(capsys):
    app = make_app("prog")

    @app.command()
    def command() -> None:
        raise KeyboardInterrupt

    assert guard("prog", lambda: run(app, "prog", [])) == ExitCode.FAILED
    assert capsys.readouterr().err.strip() == "prog: interrupted"


def test_streams_that_are_closed():
    script = (
        "from mpshared.command import guard, say; import sys; sys.exit(guard('p', lambda: say('hello') or 0))"
    )
    line = f'{sys.executable} -c "{script}"'
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(
            ["/bin/sh", "-c", f"{line} {closed}"], capture_output=True, timeout=20, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_what_standard_output_cannot_write_is_escaped():
    script = "from mpshared.command import say; say('東京')"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    said = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True, timeout=20)
    assert said == "\\u6771\\u4eac\n"


def test_say(capsys):
    say("hello")
    assert capsys.readouterr().out == "hello\n"
