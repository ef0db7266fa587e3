"""Where objects live: an engine executes operations on them and says when parked calls may go on.

`base` is the interface, `memory` the usual engine, `journal` the same with every change on disk.
"""
