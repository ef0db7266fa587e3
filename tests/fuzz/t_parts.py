"""Targets: what comes in parts, or many at once: large frames, TLS before anybody is known, rows of values.

A frame is large from 64 KiB on; here from 64 bytes on, so that inputs which are soon used reach all of it.
"""

from __future__ import annotations

import io
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from tests.certificates import Made
from tests.fuzz.mutators import cut_own, cut_stock, join_own
from tests.fuzz.t_wire import MESSAGE_MAX_BYTES, _events

from mpclient.values import rows
from mpclient.values.jobs_format import load_items
from mpshared.address import Address
from mpshared.bunch import Bunch
from mpshared.errors import NoRoom
from mpshared.tls import ClientTls, ServerTls
from mpshared.values import Pieces
from mpshared.wire import assembler
from mpshared.wire.errors import AuthenticationRefused, ProtocolError
from mpshared.wire.own import frames, replies
from mpshared.wire.own.calls import CallDecoder
from mpshared.wire.own.frames import HEAD_MOST_BYTES, Call, FrameDecoder
from mpshared.wire.own.replies import ReplyDecoder
from mpshared.wire.tls import TlsMachine

__all__ = ["honest_tls", "large_frames", "row_values", "tls_handshake"]

LARGE_BYTES: Final = 64
_PART_BYTES: Final = 24
_READ_BYTES: Final = 40
_SERVER: Final = Address.tcp("127.0.0.1", 7707)


# -- large frames ---------------------------------------------------------------------------------


@contextmanager
def _large() -> Iterator[None]:
    """Lower what large is."""
    with (
        patch.multiple(assembler, PART_BYTES=_PART_BYTES, LARGE_BYTES=LARGE_BYTES),
        patch.multiple(replies, PART_BYTES=_PART_BYTES, LARGE_BYTES=LARGE_BYTES),
        patch.multiple(frames, LARGE_BYTES=LARGE_BYTES),
    ):
        yield


def large_frames(data: bytes) -> None:
    """Read frames as both sides do, a read after the other: they say the same as all at once."""
    data = _widened(data)
    with _large():
        whole = _events(FrameDecoder(MESSAGE_MAX_BYTES), data)
        client = _in_reads(ReplyDecoder(MESSAGE_MAX_BYTES, HEAD_MOST_BYTES), data)
        assert repr(client) == repr(whole), "a client reads something else"
        whole = _events(FrameDecoder(MESSAGE_MAX_BYTES, bounded=True), data)
        server = _in_reads(CallDecoder(MESSAGE_MAX_BYTES, bounded=True), data)
        assert repr(server) == repr(whole), "a server reads something else"
        _drop_one(data, whole[0])
    if whole[1]:
        raise ProtocolError(whole[1], "as all said")


def _widened(data: bytes) -> bytes:
    """Return frames whose values' sizes are written as those of large ones are."""
    cut, rest = cut_own(data)
    for frame in cut:
        *_, head, payload = frame
        size = len(payload)
        for width, code in ((1, b"\x91\xcc"), (2, b"\x91\xcd")):
            written = code + (size % 256**width).to_bytes(width)
            if head.endswith(written):
                frame[-2] = head.removesuffix(written) + b"\x91\xce" + size.to_bytes(4)
    return b"".join(map(join_own, cut)) + rest


def _in_reads(
    decoder: FrameDecoder, data: bytes, look: Callable[[list[Any]], object] = lambda _events: None
) -> tuple[list[Any], str]:
    """Give a decoder as much at a time as it wants, or less; return its events, and which field was wrong."""
    events: list[Any] = []
    pos = reads = 0
    try:
        while pos < len(data):
            reads += 1
            size = decoder.wants or _READ_BYTES
            size = size if reads % 4 else 1 + size // 2  # a signal, or a slow network
            decoder.receive_data(data[pos : pos + size])
            pos += size
            look(events)
            while (event := decoder.next_event()) is not None:
                events.append(_joined(event))
    except ProtocolError as err:
        return events, err.field
    return events, ""


def _joined(event: Any) -> Any:
    """Return an event in which values that came in pieces are joined."""
    blobs: Any = event.blobs if isinstance(event, frames.Reply) else ()
    if any(type(blob) is Pieces for blob in blobs):
        return event._replace(blobs=tuple(blob.data for blob in blobs))
    return event


def _drop_one(data: bytes, told: list[Any]) -> None:
    """Drop what is coming once: its call alone is told that, and all others are as they would be."""
    decoder = CallDecoder(MESSAGE_MAX_BYTES, bounded=True)
    dropped: list[int] = []

    def look(events: list[Any]) -> None:
        if not dropped and decoder.drop():
            dropped.append(len(events))

    try:
        events, _ = _in_reads(decoder, data, look)
    except MemoryError:
        return  # whose call it was is not known: its connection ends
    at = dropped[0] if dropped else len(events)
    assert repr(events[:at]) == repr(told[:at]), "what came before is something else"
    if at < min(len(events), len(told)):
        _require_told(events[at], told[at])
        assert repr(events[at + 1 : len(told)]) == repr(told[at + 1 : len(events)]), "the rest is another"


def _require_told(event: Call, meant: Call) -> None:
    """Require that a call is the one whose values were dropped, and that nobody takes it for another."""
    assert repr(event[:6]) == repr(meant[:6]), "another call is told"
    try:
        len(event.blobs)
    except NoRoom:
        return
    raise AssertionError("a call without its values is done")


# -- TLS: the fuzzer has no certificate ----------------------------------------------------------------


@cache
def _sides() -> tuple[ServerTls, ClientTls]:
    with tempfile.TemporaryDirectory() as folder:
        made = Made(Path(folder))
        return ServerTls(made.server()), ClientTls(made.client())


def _machine(*, server: bool) -> TlsMachine:
    server_side, client_side = _sides()
    return server_side.machine() if server else client_side.machine(_SERVER)


def honest_tls() -> Iterator[bytes]:
    """Yield what both sides of a handshake say."""
    client, server = _machine(server=False), _machine(server=True)
    for _ in range(2):
        yield (said := client.data_to_send())
        server.receive_data(said)
        yield (said := server.data_to_send())
        client.receive_data(said)


def tls_handshake(data: bytes) -> None:
    """Begin TLS with either side as somebody without a certificate: nobody is let in, nothing is taken in."""
    half = len(data) // 2
    for server in (True, False):
        machine = _machine(server=server)
        machine.data_to_send()
        try:
            plain = [machine.receive_data(part) for part in (data[:half], data[half:])]
        except (AuthenticationRefused, ProtocolError) as err:
            plain = [str(err)[:0].encode()]
        assert not machine.established, "who has no certificate was let in"
        assert not any(plain), "something was taken in"
        machine.data_to_send()
        machine.close()


# -- rows -----------------------------------------------------------------------------------------


class _Harmless(pickle._Unpickler):  # type: ignore[name-defined]
    """Opens what names nothing: what others are is for a program, which trusts who has its key."""

    # room for these is made before they are there, as by C; a program reads no more than a message
    dispatch: Final = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()  # type: ignore[attr-defined]
        if code != pickle.BYTEARRAY8[0]
    }

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name}")


def _loads(data: bytes) -> Any:

    return _Harmless(io.BytesIO(data)).load()


_PICKLE: Final = SimpleNamespace(loads=_loads, Pickler=pickle.Pickler)


def row_values(data: bytes) -> None:
    """Open values that came together: as many as came, or one by one; written, they are the same again."""
    values, _ = cut_stock(data)
    bunch = Bunch(b"".join(values), [*map(len, values)])
    with patch.object(rows, "pickle", _PICKLE):
        jobs = load_items(bunch)
        for opened in (rows.load_values(bunch), None if jobs is None else jobs[1]):
            assert opened is None or len(opened) == len(values), "there are more, or fewer"
            if opened is not None and rows.are_plain(opened):
                again = rows.dump_values(opened)
                assert again is None or repr(rows.load_values(again)) == repr(opened), (
                    "written, it is another"
                )
