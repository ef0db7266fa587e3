"""Pictures of what was measured, drawn where matplotlib is; see `tests.bench.draw`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.bench import environments
from tests.bench.children import ROOT

__all__ = ["draw"]


def draw(what: dict[str, Any], path: Path) -> bool:
    """Draw one picture; tell whether it was possible."""
    if not environments.have("plots"):
        return False
    command = [environments.python_of("plots"), "-m", "tests.bench.draw", str(path)]
    subprocess.run(command, input=json.dumps(what).encode(), cwd=ROOT, check=True)
    return True
