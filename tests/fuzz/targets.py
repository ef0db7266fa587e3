"""THE table of targets: what is fuzzed, and which exceptions are its documented ones."""

from __future__ import annotations

from typing import Final

from tests.fuzz import mutators, seeds, t_client, t_journal, t_parts, t_server, t_symbolic, t_wire
from tests.fuzz.rule import Target

from mpclient.transport.dialling import Lost
from mpserve.engines.journal.codec import Damaged
from mpserve.engines.journal.portable import NoExport
from mpshared.errors import MpserveError
from mpshared.symbolic import MalformedPickle
from mpshared.units import SettingError
from mpshared.wire.errors import AuthenticationRefused, ProtocolError, VersionMismatch

__all__ = ["BY_NAME", "TARGETS"]

_PAYLOADS: Final = mutators.stock_frames(mutators.pickles)
_HELLOS: Final = mutators.stock_frames(mutators.hellos)

TARGETS: Final = (
    Target(
        "stock-messages",
        "frames of `multiprocessing.connection`; cut differently, they say the same",
        t_wire.stock_messages,
        (ProtocolError,),
        _PAYLOADS,
        seeds.stock_streams,
        share=15,
    ),
    Target(
        "stock-server-handshake",
        "everybody's first bytes at the server; who has no key is never let in",
        t_wire.stock_server_handshake,
        (),
        _HELLOS,
        seeds.hellos,
        input_max_bytes=2 << 10,
        share=9,
    ),
    Target(
        "own-server-handshake",
        "a hello and a proof at the server; who has no key is never let in",
        t_wire.own_server_handshake,
        (ProtocolError,),
        _HELLOS,
        seeds.hellos,
        input_max_bytes=2 << 10,
        share=9,
    ),
    Target(
        "own-client-handshake",
        "a server's answers at our client; it is never taken in",
        t_wire.own_client_handshake,
        (ProtocolError, AuthenticationRefused, VersionMismatch),
        _HELLOS,
        seeds.handshakes,
        input_max_bytes=2 << 10,
        share=9,
    ),
    Target(
        "tls-handshake",
        "either side's first bytes of TLS; who has no certificate is never let in",
        t_parts.tls_handshake,
        (),
        lambda data, _chance, plain: plain(data),
        t_parts.honest_tls,
        share=4,
    ),
    Target(
        "own-frames",
        "our envelope: calls, replies, controls; cut differently, taken the short way, or written again, "
        "they say the same",
        t_wire.own_frames,
        (ProtocolError,),
        mutators.own_frames,
        seeds.own_streams,
        input_max_bytes=2 << 10,
        share=8,
    ),
    Target(
        "own-frames-large",
        "the same where values come in parts, as server and client read them; where they are dropped, their "
        "call alone is told so",
        t_parts.large_frames,
        (ProtocolError,),
        mutators.own_frames,
        seeds.large_streams,
        input_max_bytes=2 << 10,
        share=8,
    ),
    Target(
        "own-msgpack",
        "heads: plain data only, no deeper than allowed, and the same when written again",
        t_wire.own_msgpack,
        (ProtocolError,),
        mutators.msgpacks,
        seeds.msgpacks,
        share=15,
    ),
    Target(
        "own-calls",
        "a client with the key at dispatcher and engine: no answer is a mistake of the server's, and what it "
        "keeps fits together, also when the client is gone",
        t_server.own_calls,
        (),
        mutators.own_frames,
        seeds.client_streams,
        input_max_bytes=2 << 10,
        share=2,
    ),
    Target(
        "stock-requests",
        "the same for a manager's client: only errors that are raised on purpose",
        t_server.stock_requests,
        (),
        _PAYLOADS,
        seeds.requests,
        input_max_bytes=2 << 10,
        share=2,
    ),
    Target(
        "client-session",
        "a server with the key at our client: what it says of the session, its replies, errors and output",
        t_client.client_session,
        (MpserveError, Lost),
        mutators.own_frames,
        seeds.server_streams,
        input_max_bytes=2 << 10,
        share=5,
    ),
    Target(
        "client-rows",
        "values that were pickled together: as many as came, and the same when written again",
        t_parts.row_values,
        (),
        _PAYLOADS,
        seeds.value_rows,
        input_max_bytes=2 << 10,
        share=8,
    ),
    Target(
        "symbolic",
        "pickles as data: read, shown, written; written and read it is the same; nothing is imported",
        t_symbolic.read_and_write,
        (MalformedPickle,),
        mutators.pickles,
        seeds.pickles,
        share=12,
    ),
    Target(
        "symbolic-plain",
        "what C may open means the same to the exact way",
        t_symbolic.plain,
        (),
        mutators.pickles,
        seeds.pickles,
        share=15,
    ),
    Target(
        "symbolic-compare",
        "equality, keys and order of two pickles agree with each other",
        t_symbolic.compare,
        (MalformedPickle,),
        _PAYLOADS,
        seeds.pairs,
        share=10,
    ),
    Target(
        "journal-rows",
        "a row with a right checksum: entries, and the same when written again, also in pieces",
        t_journal.journal_rows,
        (Damaged,),
        mutators.msgpacks,
        seeds.rows,
        share=15,
    ),
    Target(
        "journal-state",
        "rows carried out on the objects they make: what does not fit is damage",
        t_journal.journal_state,
        (Damaged,),
        mutators.stock_frames(mutators.msgpacks),
        seeds.states,
        input_max_bytes=2 << 10,
        share=3,
    ),
    Target(
        "export-lines",
        "an export's lines, carried out, and the same when written again",
        t_journal.export_lines,
        (NoExport, Damaged),
        mutators.lines,
        seeds.exports,
        share=3,
    ),
    Target(
        "settings",
        "what people type for settings and addresses; what is printed can be typed back",
        t_client.settings,
        (SettingError,),
        mutators.lines,
        seeds.typed,
        share=4,
    ),
)

BY_NAME: Final = {target.name: target for target in TARGETS}
