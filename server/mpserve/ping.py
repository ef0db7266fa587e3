"""Asking a running server from the command line; `mpserve ping` is this and nothing else, so it starts
fast.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mpserve.net.ask import Inquiry, inquire
from mpshared.address import DEFAULT_PORT, Address, AddressError
from mpshared.errors import MpserveError
from mpshared.exit_codes import ExitCode
from mpshared.keys import KeyProblem, find_key
from mpshared.wire.errors import AuthenticationRefused, ProtocolError, VersionMismatch

__all__ = ["Unanswered", "ask", "ping"]


class Unanswered(Exception):
    """The server did not answer; `code` is the exit code, the text says why and what to do."""

    def __init__(self, code: ExitCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def ping(arguments: Sequence[str]) -> int:
    """Return the exit code of `mpserve ping`, 0 or 1 as health checks want it, and print what there is to
    say.
    """
    parser = argparse.ArgumentParser("mpserve ping")
    parser.add_argument("--connect", default=os.environ.get("MPSERVE_ADDRESS", ""))
    parser.add_argument("--authkey-file")
    parser.add_argument("--timeout", type=float, default=5.0)
    given = parser.parse_args(arguments)
    try:
        version = ask(
            given.connect, given.authkey_file, given.timeout, lambda inquiry: inquiry.greeting["version"]
        )
    except Unanswered as err:
        print(f"mpserve ping: {err}", file=sys.stderr)
        return ExitCode.FAILED
    print(f"mpserve {version} answers")
    return ExitCode.OK


def ask(connect: str, key_file: str | None, timeout_s: float, question: Callable[[Inquiry], Any]) -> Any:
    """Return what `question` finds out from the server.

    Args:
        connect: host:port, [v6]:port or unix:/path; "" is this machine's default port.
        key_file: File with the key, or None to look for it.
        timeout_s: Seconds for each step.
        question: Is given the open `Inquiry`.

    Raises:
        Unanswered: For every reason there can be.
    """
    try:
        address = Address.parse(connect or f"127.0.0.1:{DEFAULT_PORT}", default_port=DEFAULT_PORT)
        key = find_key(key_file)
        with inquire(address, key.secret, "mpserve command", timeout_s) as inquiry:
            return question(inquiry)
    except AddressError as err:
        raise Unanswered(ExitCode.USAGE, f"--connect: {err}") from None
    except (KeyProblem, AuthenticationRefused) as err:
        raise Unanswered(ExitCode.BAD_KEY, str(err)) from None
    except (VersionMismatch, ProtocolError) as err:
        raise Unanswered(ExitCode.INCOMPATIBLE, str(err)) from None
    except MpserveError as err:
        raise Unanswered(ExitCode.FAILED, str(err)) from None
    except TimeoutError:
        raise Unanswered(
            ExitCode.UNREACHABLE, f"{connect or address} did not answer within {timeout_s:g} s"
        ) from None
    except OSError as err:
        why = (
            f"no server answers at {address}: {err.strerror or err}; start one with `mpserve start`, or say "
            "where with --connect"
        )
        raise Unanswered(ExitCode.UNREACHABLE, why) from None
