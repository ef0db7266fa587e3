"""Each case against both sides, and whether the page tells what was found."""

from __future__ import annotations

import inspect
import re
import sys

import pytest
from tests.conformance.harness import PAGE_PYTHON, compare, render
from tests.conformance.page import PAGE, all_cases, sections
from tests.conformance.sides import MODULES, their_side

CASES = all_cases()
UPDATE = "scripts/compatibility writes the page anew"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of theirs, at bad pickles
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_the_same_as_the_standard_library_or_declared(case, theirs, ours):
    result = compare(case, theirs, ours)
    if complaints := [*result.complaints(), *(f"no difference: {label}" for label in result.stale())]:
        pytest.fail("\n".join(complaints), pytrace=False)
    if case.of and sys.version_info[:2] >= case.needs:
        public = {name for name in dir(theirs.find(case.of)) if not name.startswith("_")}
        assert not public - result.told(), "neither tried nor noted"
    if sys.version_info[:2] == PAGE_PYTHON:
        assert render(result) in PAGE.read_text("utf-8"), UPDATE


def test_the_page_has_all_cases_and_no_others():
    assert sections(PAGE.read_text("utf-8")) == [case.title for case in CASES], UPDATE


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_on_the_page(module):
    found = their_side(None).modules[module]
    defined = [
        name
        for name, value in vars(found).items()
        if inspect.getmodule(value) is found and (inspect.isclass(value) or inspect.isfunction(value))
    ]
    names = {name for name in [*getattr(found, "__all__", ()), *defined] if not name.startswith("_")}
    told = set(re.findall(r"\w+", PAGE.read_text("utf-8")))
    assert names - told - INTERNAL == set()


INTERNAL = {
    # of connection: what Client and Listener are made of, and how connections were pickled
    *("ConnectionWrapper", "PipeConnection", "PipeListener", "PipeClient", "SocketListener", "SocketClient"),
    *(
        "XmlListener",
        "XmlClient",
        "address_type",
        "answer_challenge",
        "arbitrary_address",
        "deliver_challenge",
    ),
    *("rebuild_connection", "reduce_connection"),
    # of context and process
    *("assert_spawning", "get_spawning_popen", "set_spawning_popen", "AuthenticationString"),
    # of managers: the inside of its server
    *(
        "BaseDictProxy",
        "BaseListProxy",
        "BasePoolProxy",
        "BaseSetProxy",
        "ProcessLocalSet",
        "RebuildProxy",
        "SharedMemoryServer",
        "all_methods",
    ),
    *("convert_to_error", "dispatch", "public_methods", "rebuild_as_list", "reduce_array"),
    # of pool: the inside of its processes
    *("ExceptionWithTraceback", "mapstar", "rebuild_exc", "starmapstar", "worker"),
    # of synchronize and sharedctypes: how a semaphore looks to the system, how memory of ctypes travels
    *("SemLock", "make_property", "rebuild_ctype", "reduce_ctype"),
}
"""Names without an underscore that no documentation has."""
