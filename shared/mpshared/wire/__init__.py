"""The wire, sans-IO: bytes in, events out. Nothing here opens a socket, reads a clock or starts a thread.

RULES
* Bytes from a peer raise `errors.ProtocolError` and its kin, or end a server's handshake with `Refused`.
  Any other exception is our bug, whatever the bytes.
* Whoever drives a machine gives it what arrived (`receive_data`), asks `next_event` until it says None, and
  sends what `data_to_send` returns. Random bytes are arguments.
* A size is compared with its limit when its header is read, before anything is allocated for it.

| file                | what is in it                                                                   |
|---------------------|---------------------------------------------------------------------------------|
| `errors.py`         | what can go wrong                                                               |
| `assembler.py`      | chunks in, whole records out; what every decoder here is made of                |
| `framing.py`        | the standard library's length frames                                            |
| `auth.py`           | keys, challenges, proofs                                                        |
| `handshake.py`      | what the three handshakes below have in common                                  |
| `stock/server.py`   | the standard library's handshake as its server: every connection begins here    |
| `stock/messages.py` | what a stock connection carries afterwards                                      |
| `own/handshake.py`  | our own handshake, both roles                                                   |
| `own/frames.py`     | our own envelope: the calls, replies and controls that travel afterwards        |
| `own/pack.py`       | msgpack within strict limits                                                    |
"""
