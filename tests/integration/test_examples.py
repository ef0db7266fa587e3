"""The programs of examples/ and the readme, with a cluster of their own, and on a real server and worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests import prepared
from tests.integration import workers

mpworker = workers.mpworker
pytestmark = pytest.mark.hosts

EXAMPLES = Path(__file__).parents[2] / "examples"
PRODUCTS = sorted(f"Result: {i} * {i} = {i * i}" for i in range(10))


@pytest.fixture(params=["embedded", "hosts"])
def hosts(request, fresh_server, mpworker):
    """Return the environment of a program, and the worker host it uses, None for one of its own."""
    if request.param == "embedded":
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_")}
        return kept | {"MPSERVE_WORKER_PROCESSES": "2"}, None
    server = fresh_server()
    worker = mpworker(server, "--results", "results", queue="tasks", processes=2).ready()
    return server.environment, worker


def run(environment: dict[str, str], name: str, *words: str, typed: bool = False) -> list[str]:
    """Run an example to its end; return the lines it printed."""
    done = prepared.run(EXAMPLES / name, *words, env=environment, typed=typed)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_wordcount(hosts):
    environment, _ = hosts
    lines = run(environment, "wordcount.py", "--limit", "60")
    text = "\n".join(lines)
    assert "2 worker processes" in lines[0]
    assert "60/60" in lines[0]
    first = lines.index("The 20 commonest words:") + 1
    times = [int(line.split()[0].replace(",", "")) for line in lines[first : first + 20]]
    assert times == sorted(times, reverse=True)
    assert lines[first + 20] == ""
    jobs = re.findall(r"^ +(\d+)  \S+:\d+ *$", text, re.MULTILINE)
    assert sum(map(int, jobs)) == 60
    assert "60 files" in text
    assert lines[-1] == "Both counts are the same."


def test_producer_consumer(hosts):
    environment, worker = hosts
    lines = run(environment, "producer_consumer.py")
    assert lines[0] == "2 consumers"
    assert sorted(lines[1:]) == PRODUCTS
    if worker is not None:
        assert worker.wait() == 0  # the pills stopped it


# -- the readme -----------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    """Return the readme's blocks of one language."""
    readme = (EXAMPLES.parent / "README.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)


def test_the_program_of_the_readme(hosts, tmp_path):
    environment, _ = hosts
    program = tmp_path / "program.py"
    program.write_text(blocks("python")[0])
    lines = run(environment, str(program), typed=True)
    assert lines[0] == "2 divisors: 100003 100019"
    assert sum(len(line.split()) - 2 for line in lines) == 20


def test_the_standard_client_of_the_readme(fresh_server, tmp_path):
    server = fresh_server()
    (tmp_path / "mpserve.key").write_text(server.key + "\n")
    host, port = server.address.split(":")
    source = blocks("python")[1].replace('"host", 7707', f'"{host}", {port}')
    done = subprocess.run(
        [sys.executable, "-c", source + "print(numbers.copy())"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{'one': 1}\n", "")


def test_the_commands_of_the_readme_exist():
    shown = {}
    for block in blocks("console"):
        for command, option in re.findall(r"\b(mpserve start|mpworker)\b([^#\n]*)", block):
            if command not in shown:
                line = [
                    str(Path(sys.executable).with_name(command.split()[0])),
                    *command.split()[1:],
                    "--help",
                ]
                shown[command] = subprocess.check_output(line, text=True, timeout=20)
            for word in re.findall(r"--[a-z-]+", option):
                assert word in shown[command]
    assert set(shown) == {"mpserve start", "mpworker"}
