"""Programs that were frozen, as by PyInstaller: `sys.executable` is the program itself.

A stand-in: its executable is a script that starts the program. Freezing one for real takes minutes; it was
tried with PyInstaller 6.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="starts no workers on Windows")

BEGIN = """\
import sys
from pathlib import Path
sys.frozen = True
sys.executable = str(Path(__file__).with_name("program"))
import mpclient as multiprocessing

def double(n):
    return 2 * n

def say(q):
    q.put("said")

if __name__ == "__main__":
"""
SUPPORT = "    multiprocessing.freeze_support()\n"
WORK = """\
    with multiprocessing.Pool(1) as pool:
        print(pool.map(double, range(3)))
    q = multiprocessing.Queue()
    process = multiprocessing.Process(target=say, args=(q,))
    process.start()
    print(q.get(), process.join(), process.exitcode)
"""


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a program as if it were frozen."""
    (folder / "program.py").write_text(code)
    program = folder / "program"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$0.py" "$@"\n')
    program.chmod(0o700)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_")}
    return subprocess.run(
        [str(program)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_frozen_program_starts_itself_as_server_and_workers(tmp_path):
    done = run(tmp_path, BEGIN + SUPPORT + WORK)
    assert (done.stdout, done.stderr) == ("[0, 2, 4]\nsaid None 0\n", "")


def test_without_freeze_support_it_is_told_so_and_nothing_is_started(tmp_path):
    done = run(tmp_path, BEGIN + WORK)
    assert done.returncode == 1
    assert "RuntimeError: this program is frozen" in done.stderr
    assert "mpclient.freeze_support()" in done.stderr
