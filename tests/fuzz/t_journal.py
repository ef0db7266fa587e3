"""Targets: what a journal is read from. What cannot have been written is `Damaged`, or no export."""

from __future__ import annotations

import zlib
from unittest.mock import patch

from tests.fuzz.mutators import cut_stock
from tests.fuzz.t_server import small_limits

from mpserve.engines.journal import codec
from mpserve.engines.journal.codec import decode, encode, encode_sparingly
from mpserve.engines.journal.portable import from_lines, to_lines
from mpserve.engines.journal.restore import Restorer

__all__ = ["export_lines", "journal_rows", "journal_state"]


def journal_rows(data: bytes) -> None:
    """Read a row whose checksum is right; what was read is written, also in pieces, and read the same."""
    entries = decode(data, zlib.crc32(data))
    assert repr(decode(*encode(entries))) == repr(entries), "written and read, it is something else"
    with patch.object(codec, "SPARING_BYTES", 64):
        pieces = [*encode_sparingly(entries)]
    assert {checksum for _, checksum in pieces[:-1]} <= {codec.CONTINUES}, "a piece says that nothing follows"
    again = decode(b"".join(piece for piece, _ in pieces), pieces[-1][1])
    assert repr(again) == repr(entries), "written in pieces and read, it is something else"


def journal_state(data: bytes) -> None:
    """Read rows, which come as frames, and carry them out one after the other."""
    rows, _ = cut_stock(data)
    restorer = Restorer()
    with small_limits():
        for row in rows:
            restorer.apply(decode(row, zlib.crc32(row)))
    assert not restorer.fx.answered, "a row answered a call"
    assert not len(restorer.fx.timers), "a row set a timer"


def export_lines(data: bytes) -> None:
    """Read an export and carry it out; its entries are written as the same lines."""
    server, read = from_lines(data.decode("utf-8", "surrogateescape").split("\n"))
    entries = list(read)
    again = from_lines(to_lines(server, entries))
    assert repr(list(again[1])) == repr(entries), "written and read, it is something else"
    with small_limits():
        Restorer().apply(entries)
