"""The only sockets and the only clock: poller, loop, listener, peers.

One turn of the loop: wait → read every peer that is ready and act on each whole message → run due timers →
one write per peer that has something to be told. Why a bare loop and not asyncio or uvloop:
`docs/explanation/performance.md`.
"""
