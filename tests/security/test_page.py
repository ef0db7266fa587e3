"""The page about security names tests that there are."""

from __future__ import annotations

import re

import pytest
from tests.integration.conftest import ROOT

PAGE = (ROOT / "docs" / "explanation" / "security.md").read_text()
NAMED = re.compile(r"`(tests/[\w/.]+)?((?:::\w+)*)`")


def named() -> list[str]:
    """Return what the table calls tests; `::name` stands for one in the file before it."""
    found, file = [], ""
    for row in PAGE.partition("\n## Promises")[2].partition("\n## Reporting")[0].splitlines():
        for path, inner in NAMED.findall(row):
            file = path or file
            found.append(file + inner)
    return found


@pytest.mark.parametrize("name", sorted(set(named())))
def test_what_is_said_to_hold_a_promise_exists(name):
    file, *inner = name.split("::")
    path = ROOT / file
    assert path.exists()
    text = path.read_text() if path.is_file() else ""
    for each in inner:
        assert re.search(rf"^ *(def|class) {each}\b", text, re.MULTILINE), each


def test_each_promise_has_one():
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE.partition("\n## Promises")[2], re.MULTILINE)
    assert len(rows) > 40
    assert [promise for promise, tests in rows[1:] if "`tests/" not in tests] == []
