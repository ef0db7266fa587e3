"""What Pools and executors are made of: see `mpclient.jobs`, which puts it together.

`sources` and `flow` hold what waits to be sent, `spans` knows which job has which number, `results` is what
programs get of a Pool and `futures` of an executor, `outcomes` what both are made of, `progress` how far it
is; `functions` and `refusal` are about what travels, `requests` what else a pool's sender is asked, `threads`
the sender and the collector, `vigil` looks out for workers, `backlog` tells what waits, and
`nested` which jobs wait for jobs of their own.
"""
