"""Fuzzing: whatever the bytes, only documented exceptions, in bounded time and memory.

| file               | what it is                                                                        |
|--------------------|-----------------------------------------------------------------------------------|
| `rule.py`          | the rule, and how one input is held against it                                    |
| `targets.py`       | THE table: every target, its documented exceptions, its mutator, its seeds        |
| `t_*.py`           | what the targets do with their bytes                                              |
| `seeds.py`         | traffic of honest peers, to begin with                                            |
| `mutators.py`      | changes that get past the framing: of frames, msgpack, pickles' opcodes, lines    |
| `corpus.py`        | inputs that were worth keeping, and the choice of them                            |
| `child.py`         | one target under atheris, in a process of its own                                 |
| `__main__.py`      | `scripts/fuzz`: runs the targets, tells how far they are, keeps what they find    |
| `page.py`          | the figures of a run, in the documentation                                        |
| `test_fuzz.py`     | the same in the test run: the whole corpus, and some hundred examples of Hypothesis |
"""
