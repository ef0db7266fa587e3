"""Chaos: a workload under kills, stops, cuts and restarts, and an exact account at the end.

`scripts/chaos --minutes 15 --seed 1` is the long form; `test_storm.py` runs a short one.

| file    | what it is                                                       |
|---------|------------------------------------------------------------------|
| actors  | the programs of the workload: what they do, and how they note it |
| storm   | what happens to them                                             |
| account | what must be true of their notes at the end                      |
"""
