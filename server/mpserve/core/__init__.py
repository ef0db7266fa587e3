"""The core: state machines, one file per kind. Pure: `now` and ids are arguments; no I/O, no clock, no
logging.

Reading order: `calls` (who asks what) · `effects` (what a turn leads to) · `parking` and `timers` (calls that
wait) · `machine` (what all kinds share) · `references`, `catalogue_state` and `catalogue` (who refers to
what, and names) · `sessions` and `ended` (liveness) · `owner` and `mutex` (what locks share) · `t_*` (the
kinds, which `kinds` lists) · `comparing` and `indexes` (what containers share) · `queue_*` and `pool_*` (the
parts of `t_queue` and `t_pool`, which say what each is) · `hall` and `hosts` (jobs and Processes meet
workers) · `output` (what these print) · `watching` and `deadlocks` (who waits for several, or for each other)
· `bounds` and `room` (what may be held) · `house` (what an engine has one of) · `status`, `why` and `locks`
(what operators ask).
"""
