"""Modules that a program brought along: found, judged, imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback

import pytest

from mpclient.values.jobs_format import Shipped
from mpclient.worker.jobs.shipped import Finder

SOURCES = {
    "d1": (b"def f():\n    return 'first'\n", "/home/far/mpserve_ship_a.py"),
    "d2": (b"def f():\n    raise ValueError('second')\n", "/home/far/mpserve_ship_a.py"),
    "d3": (b"from mpserve_ship_p.inner import ONE\n", "/home/far/mpserve_ship_p/__init__.py"),
    "d4": ("# coding: latin-1\nONE = 'ä'\n".encode("latin-1"), "/home/far/mpserve_ship_p/inner.py"),
}
MODULE = Shipped("mpserve_ship_a", "d1", False)
EDITED = Shipped("mpserve_ship_a", "d2", False)
PACKAGE = (Shipped("mpserve_ship_p", "d3", True), Shipped("mpserve_ship_p.inner", "d4", False))


@pytest.fixture
def used():
    return []


@pytest.fixture
def finder(used):
    finder = Finder(SOURCES.__getitem__, lambda: used.append(1))
    finder.install()
    yield finder
    sys.meta_path.remove(finder)
    for name in [name for name in sys.modules if name.startswith("mpserve_ship_")]:
        del sys.modules[name]


def test_only_what_is_offered_is_found(finder, used):
    finder.offer([MODULE])
    assert importlib.import_module("mpserve_ship_a").f() == "first"
    assert used == [1]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("mpserve_ship_p")
    finder.offer([])
    assert importlib.util.find_spec("mpserve_ship_b") is None


def test_a_package_and_what_is_in_it(finder):
    finder.offer(PACKAGE)
    package = importlib.import_module("mpserve_ship_p")
    assert package.ONE == "ä"
    assert package.__file__ == "/home/far/mpserve_ship_p/__init__.py"
    assert package.__path__ == []


def test_a_traceback_shows_the_source(finder):
    finder.offer([EDITED])
    with pytest.raises(ValueError, match="second") as caught:
        importlib.import_module("mpserve_ship_a").f()
    text = "".join(traceback.format_exception(caught.value))
    assert 'File "/home/far/mpserve_ship_a.py", line 2, in f' in text
    assert "raise ValueError('second')" in text


def test_an_edited_module_needs_another_process(finder):
    assert finder.judge([MODULE]) == ("good", "")
    finder.offer([MODULE])
    importlib.import_module("mpserve_ship_a")
    assert finder.judge([MODULE]) == ("good", "")
    assert finder.judge([EDITED]) == ("stale", "mpserve_ship_a")
    assert finder.judge(PACKAGE) == ("good", "")


def test_so_does_a_module_that_a_job_found_on_this_host(finder, tmp_path, monkeypatch):
    (tmp_path / "mpserve_ship_a.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("mpserve_ship_a")
    assert finder.judge([MODULE]) == ("stale", "mpserve_ship_a")


@pytest.mark.parametrize("name", ["sys", "json", "mpclient.not_there_yet", "mpshared"])
def test_what_a_worker_process_has_itself_cannot_be_shipped(name):
    importlib.import_module("json")
    finder = Finder(SOURCES.__getitem__, lambda: None)
    assert finder.judge([MODULE, Shipped(name, "d1", False)]) == ("taken", name)


def test_a_source_that_cannot_be_had_is_an_import_error(finder):
    def fetch(digest):
        raise ImportError(f"no {digest}")

    other = Finder(fetch, lambda: None)
    other.offer([MODULE])
    with pytest.raises(ImportError, match="no d1"):
        other.find_spec("mpserve_ship_a")
