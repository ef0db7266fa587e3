"""The only sockets and the only clock: poller, loop, listener, peers.

One turn of the loop: wait → read every peer that is ready and act on each whole message → run due timers →
one write per peer that has something to be told. `poll` waits, `loop` turns, `awake` and `outbox` make turns
short; `sockets` makes sockets, `door` accepts, `gate` says who may come in, `listener` minds all who are
here; `greeting` finds out who a `peer` is by the `keyring`, `tls` is one that speaks TLS, `files` says how
many there may be, `tally` keeps the log short. `ask` is a client: what commands ask a running server with.
Why a bare loop and not asyncio or uvloop: `docs/explanation/performance.md`.
"""
