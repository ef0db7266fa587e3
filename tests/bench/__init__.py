"""Measurements: ratios against the standard library, bare sockets and others, taken side by side in one run.

Never part of the test run, never a pass or fail by time. In reading order: `rows` (the words), `sections`
(what is measured, a file for each table of the report), `sides` (against what), `runner` (rounds), `driver`
and `stations` (what a client process does), `tables` and `report` (what is printed and written). `loop_trial`
stands alone: it is how the server's loop was chosen.
"""
