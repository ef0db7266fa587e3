"""The table of settings, the units people type, and text made safe to show."""

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpshared import limits, settings
from mpshared.log import make_logger
from mpshared.settings import TABLE, Setting, SettingError, for_user
from mpshared.text import printable, shorten
from mpshared.units import (
    format_size,
    parse_count,
    parse_duration,
    parse_flag,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("30s", 30.0),
        (" 30 s ", 30.0),
        ("500ms", 0.5),
        ("0", 0.0),
        ("0.5", 0.5),
        (".5s", 0.5),
        ("2m", 120.0),
        ("2min", 120.0),
        ("1.5h", 5400.0),
        ("1d", 86400.0),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "1 week", "1e3", "inf", "nan", "1,5", "1.s", "30S5", "٣s", "1" * 9 + "x"]
)
def test_no_durations(text):
    with pytest.raises(SettingError, match="write it like 30s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("65536", 65536),
        ("256M", 256 << 20),
        ("256MB", 256 << 20),
        ("256 MiB", 256 << 20),
        ("1.5GiB", 3 << 29),
        ("64k", 65536),
        ("1T", 1 << 40),
        ("10B", 10),
        ("0", 0),
    ],
)
def test_sizes(text, size_bytes):
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "M", "-1M", "1 X", "1e3", "0x10", "1P", "256 M B"])
def test_no_sizes(text):
    with pytest.raises(SettingError, match="write it like 256M"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=1 << 50))
def test_a_size_survives_writing_and_reading(size_bytes):
    assert parse_size(format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0"), (1023, "1023"), (1024, "1K"), (256 << 20, "256M"), (3 << 29, "1536M")]
)
def test_sizes_as_shown(size_bytes, text):
    assert format_size(size_bytes) == text


@pytest.mark.parametrize("text", ["", "-1", "1.0", "a", "²", "1_000"])
def test_no_counts(text):
    with pytest.raises(SettingError, match="not a whole number; write one 0 or more"):
        parse_count(text)


@pytest.mark.parametrize("text", ["0", "11", "9" * 5000])
def test_counts_out_of_range(text):
    with pytest.raises(SettingError, match="write a whole number from 1 to 10") as caught:
        parse_count(text, least=1, most=10)
    assert len(str(caught.value)) < 300


def test_flags():
    assert [parse_flag(word) for word in ("1", "TRUE", "yes", "on")] == [True] * 4
    assert [parse_flag(word) for word in ("0", "False", "no", "off")] == [False] * 4
    with pytest.raises(SettingError, match="write 1 or 0"):
        parse_flag("maybe")


@pytest.mark.parametrize("setting", TABLE, ids=lambda setting: setting.env)
class TestEverySetting:
    def test_its_shown_default_is_its_default(self, setting: Setting):
        if setting.shown:
            assert setting.parse(setting.shown) == setting.default
        else:
            assert setting.default in {None, False, ()}

    def test_its_choices_are_accepted_and_nothing_else_is(self, setting: Setting):
        assert [setting.parse(choice.upper()) for choice in setting.choices] == list(setting.choices)
        if setting.choices:
            with pytest.raises(SettingError, match=f"write one of {', '.join(setting.choices)}"):
                setting.parse("something else")

    def test_its_names_agree(self, setting: Setting):
        assert setting.env.startswith("MPSERVE_")
        assert setting.env.endswith(setting.name.upper())
        assert not setting.option or setting.option.startswith("--")
        assert bool(setting.metavar) is not setting.is_flag
        assert setting.help.endswith(".")
        assert "[" not in setting.help  # help pages take brackets for markup

    @pytest.mark.parametrize("text", [None, "", "  "])
    def test_nothing_in_the_environment_means_the_default(self, setting: Setting, monkeypatch, text):
        if text is None:
            monkeypatch.delenv(setting.env, raising=False)
        else:
            monkeypatch.setenv(setting.env, text)
        assert setting.read() == setting.default


def test_names_are_given_once():
    assert len({setting.env for setting in TABLE}) == len(TABLE)
    for user in ("server", "worker", "client"):
        named = [setting.name for setting in for_user(user)]
        assert len(set(named)) == len(named)


def test_what_is_given_wins_over_the_environment_which_wins_over_the_default(monkeypatch):
    monkeypatch.delenv("MPSERVE_GRACE", raising=False)
    assert settings.GRACE.read() == 0.5
    monkeypatch.setenv("MPSERVE_GRACE", "2s")
    assert settings.GRACE.read() == 2.0
    assert settings.GRACE.read(0.0) == 0.0


def test_lists_and_flags_in_the_environment(monkeypatch):
    monkeypatch.setenv("MPSERVE_REGISTER", "a:A b:B")
    monkeypatch.setenv("MPSERVE_INSECURE", "1")
    assert settings.REGISTER.read() == ("a:A", "b:B")
    assert settings.INSECURE.read() is True


def test_a_bad_variable_is_named(monkeypatch):
    monkeypatch.setenv("MPSERVE_PORT", "x")
    with pytest.raises(
        SettingError, match=r"^MPSERVE_PORT: 'x' is not a whole number; write one from 0 to 65535$"
    ):
        settings.PORT.read()


def test_sizes_too_small_to_work_with_are_refused():
    with pytest.raises(SettingError, match="'1K' is too little; write 64K or more"):
        limits.MAX_MESSAGE.parse("1K")


def test_the_address_of_a_server_may_leave_out_the_port():
    assert str(settings.ADDRESS.parse("server")) == "server:7707"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, also größer", "plain text, also größer"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202ekcab", r"\u202ekcab"),
        ("\udcff", r"\udcff"),
        ("\x9b", r"\x9b"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown


@given(st.text())
def test_whatever_is_printed_is_plainly_visible(text):
    assert printable(text).isprintable()
    assert shorten(text, 20).isprintable()
    assert len(shorten(text, 20)) <= 20


def test_shorten_leaves_what_fits():
    assert shorten("x" * 20, 20) == "x" * 20
    assert shorten("x" * 21, 20) == "x" * 19 + "…"


def test_a_console_line_cannot_be_forged():
    stream = io.StringIO()
    make_logger("server", stream=stream).info("peer\nleft", name="a\n\x1b[2Jb", data=b"\x1b")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert r"peer\nleft" in stream.getvalue()
    assert r"name=a\n\x1b[2Jb" in stream.getvalue()


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "begins"),
    [
        (io.StringIO(), r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "),
        (Terminal(), r"\x1b\[2m\d\d:\d\d:\d\d\x1b"),
    ],
)
def test_a_line_in_a_file_has_its_date(stream, begins):
    make_logger("server", stream=stream).info("here")
    assert re.match(begins, stream.getvalue())


def test_a_json_line_is_one_object():
    stream = io.StringIO()
    make_logger("worker", "json", "warning", stream).info("quiet")
    make_logger("worker", "json", "warning", stream).warning("loud\n", n=3, data={1}, key="\u202e")
    assert stream.getvalue().isascii()
    line = json.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "program": "worker",
        "level": "warning",
        "event": "loud\n",
        "n": 3,
        "data": "{1}",
        "key": "\u202e",
    }


def test_a_traceback_keeps_its_lines_and_can_forge_none():
    stream = io.StringIO()
    try:
        raise ValueError("bad\x1b\n12:00:00 [info     ] server.ready")
    except ValueError:
        make_logger("server", stream=stream).error("job.failed", exc_info=True)
    assert "\n    ValueError: bad\\x1b\n" in stream.getvalue()
    begin_a_line = [line for line in stream.getvalue().splitlines() if not line.startswith("    ")]
    assert len(begin_a_line) == 1, "a line of the log, and none that the exception's text has forged"


def test_a_broken_log_costs_only_its_lines():
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    class Unreadable:
        def __repr__(self):
            raise RuntimeError

    make_logger("server", stream=Broken()).info("unheard")
    closed = io.StringIO()
    closed.close()
    make_logger("server", "json", stream=closed).info("unheard")
    stream = io.StringIO()
    make_logger("server", stream=stream).info("heard", thing=Unreadable())
    assert "its repr raised RuntimeError" in stream.getvalue()


@pytest.mark.parametrize("text", ["2ms", "1s", "50"])
def test_nobody_looks_awake_for_longer_than_a_wake_up_takes(text):
    with pytest.raises(SettingError, match="write 1ms or less"):
        settings.SPIN.parse(text)
