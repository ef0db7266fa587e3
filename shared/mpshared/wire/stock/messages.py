"""What a stock connection carries once it is authenticated: one pickle in each frame, here unopened.

RULES
* A message is never empty: a pickle has at least its STOP. (The standard library reads an empty one as the
  end of the stream.)
* The limit counts the pickle alone.
"""

from __future__ import annotations

from mpshared.wire.errors import ProtocolError
from mpshared.wire.framing import FrameReader, encode_frame

__all__ = ["StockMessages", "stock_frame"]

stock_frame = encode_frame
"""`stock_frame(pickle) -> list[bytes]`: one message as pieces to be written in order; one piece up to 16
KiB."""


class StockMessages(FrameReader):
    """Cut a stream into pickles.

    Args (of the constructor):
        max_bytes: The largest pickle to accept.
    """

    __slots__ = ()

    def next_event(self) -> bytes | None:
        """Return the next pickle, or None when more bytes are needed.

        Raises:
            ProtocolError: A length that is negative, zero or over the limit.
        """
        payload = self.next_frame()
        if payload == b"":
            msg = "an empty message, which holds no pickle; the connection is closed"
            raise ProtocolError("frame length", msg)
        return payload
