"""Our own protocol: `handshake.py` authenticates, `frames.py` goes on, with `bodies.py` (what controls say),
`metas.py` (the values in a frame) and `replies.py` (as a client reads them); `pack.py` is msgpack within
limits.
"""
