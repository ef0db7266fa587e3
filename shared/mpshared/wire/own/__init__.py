"""Our own protocol: `handshake.py` authenticates, `frames.py` goes on; `pack.py` is msgpack within limits."""
