"""What tests start in a prepared process is what it would be in an interpreter of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from tests import prepared

KNOWN = """\
import json, os, signal, sys, threading
streams = (sys.stdin, sys.stdout, sys.stderr)
streams = [(one.fileno(), one.encoding, one.errors, one.line_buffering, one.write_through) for one in streams]
print(json.dumps({
    "name": __name__, "file": __file__, "argv": sys.argv, "path": sys.path, "folder": os.getcwd(),
    "environment": dict(os.environ), "stdin": sys.stdin.read(), "streams": streams,
    "main": sys.modules["__main__"].__dict__ is globals(), "builtins": str(__builtins__),
    "threads": threading.active_count(),
    "signals": {n: str(signal.getsignal(n)) for n in signal.valid_signals()},
    "group": os.getpgid(0), "session": os.getsid(0), "open": len(os.listdir("/proc/self/fd")),
}))
sys.stderr.write("trouble")
sys.exit(3)
"""
ENDS = {
    "pass": 0,
    "raise SystemExit": 0,
    "raise SystemExit(7)": 7,
    "1 / 0": 1,
    "raise KeyboardInterrupt": -signal.SIGINT,
    "import os; os._exit(5)": 5,
    "import os; os.kill(os.getpid(), 9)": -9,
    "import threading; threading.Thread(target=print, args=('late',)).start()": 0,
    "import atexit; atexit.register(print, 'at the end')": 0,
}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each has an interpreter of its own")
def test_a_program_knows_the_same(tmp_path):
    (tmp_path / "program.py").write_text(KNOWN)
    told = []
    for typed in (False, True):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["/one", "/two"]), "MORE": "é"}
        with prepared.start(
            *(tmp_path / "program.py", "a", "b c"),
            typed=typed,
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            out, err = process.communicate("heard", timeout=60)
        told.append((json.loads(out), err, process.returncode))
    for known, otherwise in told[0][0].items():
        assert (known, otherwise) == (known, told[1][0][known])
    assert told[0][1:] == told[1][1:]
    assert told[0][0]["path"][1:3] == ["/one", "/two"]
    assert told[0][2] == 3


@pytest.mark.parametrize("source", ENDS)
def test_it_ends_the_same(source, tmp_path):
    (tmp_path / "program.py").write_text(source)
    ours, theirs = (prepared.run(tmp_path / "program.py", typed=typed) for typed in (False, True))
    assert ours.returncode == theirs.returncode == ENDS[source]
    assert ours.stdout == theirs.stdout
    assert ours.stderr.splitlines()[-1:] == theirs.stderr.splitlines()[-1:]


def test_it_is_waited_for_and_signalled_as_others_are(tmp_path):
    (tmp_path / "program.py").write_text("import time\ntime.sleep(1000)")
    process = prepared.start(tmp_path / "program.py")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0)
    process.terminate()
    assert process.wait(20) == -signal.SIGTERM
    assert process.poll() == -signal.SIGTERM
