"""Measurements: ratios against the standard library and against bare sockets, taken side by side in one run.

Never part of the test run, never a pass or fail by time. In reading order: `rows` (what is measured), `sides`
(against what), `runner` (rounds), `driver` and `stations` (what a client process does), `report` (what is
printed and written). `loop_trial` stands alone: it is how the server's loop was chosen.
"""
