"""The key that server, workers and programs share: where it comes from, and what is refused.

Found in this order:

    --authkey-file FILE         or an argument of that meaning
    MPSERVE_AUTHKEY             the key itself, as text
    MPSERVE_AUTHKEY_FILE        a file that holds it
    the user's own file         made by the first server of this user, found by everybody who runs as the same
    user

The server that a program starts for itself has a key of its own, in a file beside its Unix socket: what the
program gives its children (a pool's, say) finds it there.

RULES
* The key is never printed, logged, pickled or put on a command line. A `Key` shows where it came from, not
  what it is.
* A file others may read is refused, with the `chmod` to type; so is a key that could be guessed (under 16
  bytes).
* Two processes that make the user's file at once end up with the same key: a finished file is linked into
  place, and the one who comes second reads what the first one wrote. Nobody ever sees half a key.
* Files under /run/secrets are not asked for their mode: a container engine puts them there, often readable by
  every user of the container, and whoever is inside cannot change that.

Sources: the mode check is that of OpenSSH's private keys; 16 bytes is the security strength of the HMAC-MD5
that old clients use.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import NoReturn

from mpshared.text import shorten

__all__ = [
    "BESIDE_SOCKET",
    "MIN_KEY_BYTES",
    "Key",
    "KeyProblem",
    "default_key_file",
    "find_key",
    "find_key_beside",
    "make_key",
    "read_key_file",
    "readable_by_others",
]


MIN_KEY_BYTES = 16
BESIDE_SOCKET = "mpserve.key"
"""Name of the file with the key of a program's own server, in the folder of its socket."""
_MAX_KEY_BYTES = 4096  # beyond this somebody named the wrong file
_TEXT_ENV = "MPSERVE_AUTHKEY"
_FILE_ENV = "MPSERVE_AUTHKEY_FILE"
_CONTAINER_SECRETS = PurePath("/run/secrets")
_MAKE_ONE = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"


class KeyProblem(ValueError):
    """A key that is missing or must not be used; the text says what to do, and never holds any of the key."""


@dataclass(frozen=True, slots=True)
class Key:
    """The shared key, and where it was found."""

    secret: bytes = field(repr=False)
    source: str
    """What the user would have to change: a variable's name or a file's path."""
    file: Path | None = None

    def __reduce__(self) -> NoReturn:
        raise KeyProblem(
            f"the key from {self.source} is not pickled, lest it travel in a job or a log; pass the file's "
            "path instead"
        )


def default_key_file() -> Path:
    """Give the path of the file that belongs to this user; it need not exist.

    Raises:
        KeyProblem: This user has no home folder, so there is no place for it.
    """
    import platformdirs  # noqa: PLC0415 - only needed where no key is given

    with suppress(RuntimeError):  # pathlib's, for a container run under a number that no user has
        path = platformdirs.user_config_path("mpserve", appauthor=False) / "authkey"
        if path.is_absolute():  # not "~/…" as it was
            return path
    raise KeyProblem(
        "no key: this user has no home folder to keep one in, and without a key nobody is let in. Set "
        f"{_FILE_ENV} to the file that holds it, or HOME"
    )


def find_key(key_file: str | os.PathLike[str] | None = None) -> Key:
    """Find the key, for those who may not make one: clients, workers, `ping`.

    Args:
        key_file: The option's value, or None.

    Raises:
        KeyProblem: No key, or one that must not be used.
    """
    given = _given(key_file)
    if given is not None:
        return given
    path = default_key_file()
    if not os.path.lexists(path):
        raise KeyProblem(
            f"no key: {path} does not exist, and neither {_TEXT_ENV} nor {_FILE_ENV} is set; without the "
            "server's key nobody is let in. "
            f"On the server's machine `mpserve keyfile` names the file: copy it to {path} here, and type "
            f"`chmod 600 {path}`"
        )
    return read_key_file(path)


def make_key(key_file: str | os.PathLike[str] | None = None) -> Key:
    """Find the key, or make this user's own one: for servers.

    A file that was named but does not exist is an error, not made: a typing mistake would otherwise lock
    everybody else out.

    Raises:
        KeyProblem: A key that must not be used, or a file that cannot be made.
    """
    given = _given(key_file)
    if given is not None:
        return given
    path = default_key_file()
    if not os.path.lexists(path):
        _create(path)
    return read_key_file(path)


def read_key_file(path: str | os.PathLike[str], env: str = _FILE_ENV) -> Key:
    """Read a key from a file; one newline at its end does not belong to it.

    Args:
        path: The file.
        env: The variable that could name another one.

    Raises:
        KeyProblem: No such file, readable by others, too short, or too long to be a key.
    """
    file = Path(path)
    try:
        with file.open("rb") as opened:
            _check_mode(file, os.fstat(opened.fileno()).st_mode)
            data = opened.read(_MAX_KEY_BYTES + 3)
    except OSError as error:
        raise KeyProblem(
            f"the key file {_shown(file)} cannot be read ({error.strerror}); without the key nobody is let "
            f"in. Name another one with {env}"
        ) from None
    return Key(_checked(_without_newline(data), f"the key file {_shown(file)}"), _shown(file), file)


def find_key_beside(socket_path: str) -> Key | None:
    """Find the key of a program's own server, which listens at this socket; None: it is no such server's.

    Raises:
        KeyProblem: There is one that must not be used.
    """
    file = Path(socket_path).with_name(BESIDE_SOCKET) if socket_path else None
    return read_key_file(file) if file is not None and file.exists() else None


def _given(key_file: str | os.PathLike[str] | None) -> Key | None:
    """Read the key somebody gave; None where nobody did."""
    named = os.environ.get(_FILE_ENV) or None
    if key_file is not None and os.fspath(key_file) != named:
        return read_key_file(key_file)
    text = os.environ.get(_TEXT_ENV)
    if text is not None and named is not None:
        raise KeyProblem(
            f"both {_TEXT_ENV} and {_FILE_ENV} are set, and they may name different keys; unset one of them"
        )
    if text is not None:
        return Key(_checked(text.encode("utf-8", "surrogateescape"), _TEXT_ENV), _TEXT_ENV)
    return None if named is None else read_key_file(named)


def _checked(secret: bytes, source: str) -> bytes:
    if len(secret) < MIN_KEY_BYTES:
        raise KeyProblem(
            f"{source} holds {len(secret)} bytes; a key under {MIN_KEY_BYTES} bytes can be guessed. "
            f"Make one with: {_MAKE_ONE}"
        )
    if len(secret) > _MAX_KEY_BYTES:
        raise KeyProblem(
            f"{source} holds more than {_MAX_KEY_BYTES} bytes, which is no key. Is it the right file?"
        )
    return secret


def _without_newline(data: bytes) -> bytes:
    return data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data


def readable_by_others(file: Path, mode: int) -> bool:
    """Tell whether other users may open a file that holds a secret; see the rule about /run/secrets."""
    if os.name != "posix" or file.absolute().is_relative_to(_CONTAINER_SECRETS):
        return False
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def _check_mode(file: Path, mode: int) -> None:
    if readable_by_others(file, mode):
        raise KeyProblem(
            f"the key file {_shown(file)} can be opened by other users (mode {stat.S_IMODE(mode):04o}), who "
            "could then run code on "
            f"your workers. Type: chmod 600 {_shown(file)}"
        )


def _create(path: Path) -> None:
    """Make the user's key file, unless somebody else makes it first.

    The key is written whole to a file of its own name, then linked to its place: link() fails where there is
    one already.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _write_private(draft, secrets.token_urlsafe(32).encode("ascii") + b"\n")
            os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        return  # somebody else was first, and theirs is whole
    except OSError as error:
        raise KeyProblem(
            f"the key file {_shown(path)} cannot be made ({error.strerror}); without a key no server starts. "
            f"Make one elsewhere ({_MAKE_ONE}) and name it with {_FILE_ENV}"
        ) from None


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())


def _shown(path: Path) -> str:
    return shorten(str(path), 1000)
