"""Exit codes are one table, and reference pages say what their tables say."""

import importlib.util
from pathlib import Path

import pytest

from mpshared.exit_codes import ExitCode

ROOT = Path(__file__).parents[2]


def _reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = _reference().PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_says_what_its_table_says(name):
    assert (ROOT / name).read_text("utf-8") == PAGES[name](), "type: scripts/reference"


def test_codes_stay_what_they_are():
    """Scripts of users depend on them: a code may be added, never changed."""
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "CANNOT_LISTEN": 3,
        "BAD_KEY": 4,
        "UNREACHABLE": 5,
        "INCOMPATIBLE": 6,
        "INTERRUPTED": 7,
        "NO_DATA": 8,
    }


@pytest.mark.parametrize("code", ExitCode)
def test_a_code_is_a_number_with_a_meaning(code):
    assert 0 <= code < 126
    assert code.meaning.endswith(".")
    assert set(code.commands) <= {"mpserve", "mpworker"}
