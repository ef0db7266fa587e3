"""What people read.

`outgoing` is what this process prints for programs, on its way to the server, and `printer` what others print
for this one. `remarks` is a line on standard error that nobody asked for, `no_worker` the most useful one.
"""
