"""Audits lock files: `_audit.py LOCK…`; see `scripts/audit`.

pip-audit is asked with one service after the other until one knows all packages. What it prints is read, as
its exit code tells no difference between a vulnerability and a service that could not be reached.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

NONE_KNOWN, SOME_KNOWN, NOT_ASKED = 0, 1, 3
SERVICES: Final = ("pypi", "osv")
ANSWER_S: Final = 300.0
"""For a service to answer about all packages of a lock: one request for each."""


def main(locks: list[str]) -> int:
    """Audit all locks; return the exit code."""
    asked = [_audit(lock) for lock in locks]
    if None in asked:
        print("audit: no service could be asked about every package, so nothing is known", file=sys.stderr)
        return NOT_ASKED
    known = [line for found in asked for line in found or ()]
    print("\n".join(known) or "audit: no vulnerability is known")
    return SOME_KNOWN if known else NONE_KNOWN


def _audit(lock: str) -> list[str] | None:
    """Return what is known against the packages of a lock, a line each; None: nobody could be asked."""
    for service in SERVICES:
        report, why = _ask(lock, service)
        packages = report.get("dependencies", [])
        skipped = [package["name"] for package in packages if "skip_reason" in package]
        if packages and not skipped:
            print(f"audit: {lock}: {len(packages)} packages, asked {service}")
            return [_line(package, found) for package in packages for found in package["vulns"]]
        why = f"it does not know {', '.join(skipped[:3])} …" if skipped else why
        print(f"audit: {lock}: {service} could not be asked: {why}", file=sys.stderr)
    return None


def _ask(lock: str, service: str) -> tuple[dict[str, Any], str]:
    """Return pip-audit's report, empty if there is none, and the last that it said."""
    command = ["pip_audit", "--disable-pip", "--require-hashes", "--requirement", lock]
    options = ["--vulnerability-service", service, "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", *command, *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER_S,
        )
    except subprocess.TimeoutExpired:
        return {}, f"it did not answer within {ANSWER_S:g} s"
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        report = {}
    return report, (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]


def _line(package: dict[str, Any], found: dict[str, Any]) -> str:
    fixed = ", ".join(found["fix_versions"]) or "no version yet"
    return f"{package['name']} {package['version']}: {found['id']}, mended in {fixed}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
