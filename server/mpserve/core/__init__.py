"""The core: state machines, one file per kind. Pure: `now` and ids are arguments; no I/O, no clock, no
logging.

Reading order: `calls` (who asks what) · `effects` (what a turn leads to) · `parking` and `timers` (calls that
wait) · `machine` (what all kinds share) · `references` and `catalogue` (who refers to what, and names) ·
`sessions` (liveness) · `owner` and `mutex` (what locks share) · `t_*` (the kinds) · `queue_*` (the queue's
parts).
"""
