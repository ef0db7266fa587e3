"""The short form of the fuzzing: the whole corpus, the seeds, and some hundred changed inputs a target."""

from collections.abc import Iterator
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz import corpus, page, rule
from tests.fuzz.mutators import plain_change
from tests.fuzz.rule import WATCH, Target, TooLarge, TooSlow, hold
from tests.fuzz.targets import BY_NAME, TARGETS

EXAMPLES = 150  # the same in every run: what is new is for scripts/fuzz to find
CORPUS_MOST_FILES, CORPUS_MOST_BYTES = 1500, 2 << 20


@pytest.fixture(scope="module", autouse=True)
def watched() -> Iterator[None]:
    yield
    WATCH.stop()


@pytest.fixture(params=TARGETS, ids=lambda target: target.name)
def target(request: pytest.FixtureRequest) -> Target:
    chosen: Target = request.param
    return chosen


@cache
def bases(name: str) -> list[bytes]:
    target = BY_NAME[name]
    return [
        data
        for data in (*target.seeds(), *corpus.kept(target).values())
        if len(data) <= target.input_max_bytes
    ]


def test_seeds_and_corpus_keep_the_rule(target):
    for data in bases(target.name):
        hold(target, data)


@settings(max_examples=EXAMPLES, derandomize=True)
@given(at=st.integers(0, 1 << 16), seed=st.integers(0, 1 << 64), changes=st.integers(1, 6))
def changed_inputs_keep_the_rule(target: Target, at: int, seed: int, changes: int) -> None:
    chance = Random(seed)
    known = bases(target.name)
    data = known[at % len(known)]
    for _ in range(changes):
        data = target.mutate(data, chance, lambda part: plain_change(part, chance))
    hold(target, data[: target.input_max_bytes])


def test_changed_inputs_keep_the_rule(target):
    changed_inputs_keep_the_rule(target)


@settings(max_examples=EXAMPLES, derandomize=True)
@given(data=st.binary(max_size=300))
def any_bytes_keep_the_rule(target: Target, data: bytes) -> None:
    hold(target, data)


def test_any_bytes_keep_the_rule(target):
    any_bytes_keep_the_rule(target)


# -- the rule itself ------------------------------------------------------------------------------


def broken(use, data=b""):
    hold(Target("broken", "", use, (KeyError,), lambda data, _chance, _plain: data, list), data)


def test_a_documented_exception_is_none():
    broken(lambda _data: {}["key"])


def test_any_other_is_a_finding():
    with pytest.raises(IndexError):
        broken(lambda _data: list[int]().pop())


def test_an_input_without_end_is_a_finding(monkeypatch):
    rule.WATCH.stop()  # it goes on with the time that is set now
    monkeypatch.setattr(rule, "CPU_S", 0.2)

    def turn(_data):
        try:
            while True:
                pass
        except Exception:
            return

    with pytest.raises(TooSlow):
        broken(turn)
    rule.WATCH.stop()


def test_an_input_that_takes_much_memory_is_a_finding(monkeypatch):
    sizes = iter([1000, 1000 + rule.GROWTH_BYTES])
    monkeypatch.setattr(rule, "_largest", lambda: next(sizes))
    with pytest.raises(TooLarge, match="made broken grow"):
        broken(lambda _data: None)


def test_how_large_the_process_was_is_known():
    before = rule._largest()
    assert 0 < before <= rule._largest()


# -- what is kept, and told ------------------------------------------------------------------------


def test_the_corpus_is_small_and_of_the_targets():
    files = [path for path in corpus.CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} <= BY_NAME.keys()
    assert len(files) <= CORPUS_MOST_FILES
    assert sum(path.stat().st_size for path in files) <= CORPUS_MOST_BYTES
    for path in files:
        name = corpus.name_of(path.read_bytes())
        assert path.name == name or path.name.startswith(corpus.MENDED), path


def test_the_page_has_every_target():
    assert page.names() == [target.name for target in TARGETS]
