"""THE table of settings: options, environment variables, defaults and their documentation come from it.

RULES
* An option given on the command line wins over the environment, the environment over the default.
* An environment variable that is set to nothing counts as not set (a compose file passes such ones on).
* A row says its option and variable only where they are not those of its name: see `setting.setting`.
* A setting is read where it is used: `PORT.read(given)`. Nothing is read at import.
* Durations are seconds and sizes are bytes as soon as they are read.
* The key itself is never an option, because command lines are visible to every user of a machine: `keys.py`.

`docs/reference/settings.md` is made from this table by `scripts/reference`.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from mpshared.address import DEFAULT_PORT, Address
from mpshared.limits import LIMITS
from mpshared.setting import (
    Setting,
    User,
    parse_name,
    parse_text,
    parse_texts,
    positive_duration,
    positive_size,
    setting,
    short_duration,
)
from mpshared.spinning import SPIN_MAX_S
from mpshared.units import SettingError, parse_count, parse_duration, parse_flag

__all__ = [
    "TABLE",
    "Setting",
    "SettingError",
    "User",
    "for_user",
]


_SERVER: Final[tuple[User, ...]] = ("server",)
_WORKER: Final[tuple[User, ...]] = ("worker",)
_CLIENT: Final[tuple[User, ...]] = ("client",)

HOST: Final[Setting[str]] = setting(
    name="host",
    users=_SERVER,
    metavar="HOST",
    parse=parse_text,
    default="127.0.0.1",
    help="Name or IP address to listen at, or unix:/path for a Unix socket. Other machines reach it only if "
    "this is not a loopback address (0.0.0.0: all IPv4 addresses of this machine).",
)
PORT: Final[Setting[int]] = setting(
    name="port",
    users=_SERVER,
    metavar="PORT",
    parse=partial(parse_count, most=65535),
    default=DEFAULT_PORT,
    help="TCP port to listen at; 0 takes a free one and prints it.",
)
ADVERTISE: Final[Setting[Address | None]] = setting(
    name="advertise",
    users=_SERVER,
    metavar="HOST:PORT",
    parse=Address.parse,
    default=None,
    help="Address to put into proxies given to standard-library clients, where it differs from the one they "
    "dialled (NAT, containers).",
)
INSECURE: Final[Setting[bool]] = setting(
    name="insecure",
    users=_SERVER,
    parse=parse_flag,
    default=False,
    help="Listen at an address that other machines reach, although the traffic is not encrypted: for "
    "networks you trust. Not needed with --tls-cert.",
)
PLAIN: Final[Setting[Address | None]] = setting(
    name="plain",
    users=_SERVER,
    metavar="ADDRESS",
    parse=partial(Address.parse, default_port=DEFAULT_PORT),
    default=None,
    help="Listen here too, without TLS: a loopback address or unix:/path of this machine, for "
    "standard-library clients, which cannot speak TLS.",
)
TLS_CERT: Final[Setting[str | None]] = setting(
    name="tls_cert",
    users=("server", "worker", "client"),
    metavar="FILE",
    parse=parse_text,
    default=None,
    help="Own certificate, PEM (`mpserve tls init` makes some). A server that has one speaks TLS 1.3 and "
    "nothing else; a worker or program shows its own to a server that wants one.",
)
TLS_KEY: Final[Setting[str | None]] = setting(
    name="tls_key",
    users=("server", "worker", "client"),
    metavar="FILE",
    parse=parse_text,
    default=None,
    help="Private key of the certificate, PEM, not encrypted, readable by you only.",
)
TLS_CA: Final[Setting[str | None]] = setting(
    name="tls_ca",
    users=("server", "worker", "client"),
    metavar="FILE",
    parse=parse_text,
    default=None,
    help="Certificates of the authorities to trust, PEM. A server with it lets in only clients with a "
    "certificate of theirs; a worker or program with it speaks TLS, and checks that the server has one, for "
    "the name it was dialled by. Over a Unix socket nothing is encrypted, and these variables are not used.",
)
AUTHKEY_FILE: Final[Setting[str | None]] = setting(
    name="authkey_file",
    users=("server", "worker", "client"),
    metavar="FILE",
    parse=parse_text,
    default=None,
    help="File with the key that server, workers and programs share (at least 16 bytes, readable by you "
    "only). Without it, and without MPSERVE_AUTHKEY, the file that `mpserve keyfile` names. Programs and "
    "commands give the admin key or the observe key in the same way.",
)
ADMIN_KEY_FILE: Final[Setting[str | None]] = setting(
    name="admin_key_file",
    users=_SERVER,
    metavar="FILE",
    parse=parse_text,
    default=None,
    help="File with a key for operators. With it, who has the key of --authkey-file only uses objects and "
    "submits jobs: to delete what others made, empty queues, requeue or drop dead items, release locks and "
    "stop the server needs this one.",
)
OBSERVE_KEY_FILE: Final[Setting[str | None]] = setting(
    name="observe_key_file",
    users=_SERVER,
    metavar="FILE",
    parse=parse_text,
    default=None,
    help="File with a key for those who only look: `mpserve status`, `why` and `ping`; it opens no value and "
    "changes nothing.",
)
KEY_OVERLAP: Final[Setting[float]] = setting(
    name="key_overlap",
    users=_SERVER,
    metavar="DURATION",
    parse=parse_duration,
    default=3600.0,
    shown="1h",
    help="After a SIGHUP, which has the server read its key files and certificates again: how long the keys "
    "of before still let in. 0: not at all; programs that are connected stay so.",
)
MAX_MEMORY: Final[Setting[int | None]] = setting(
    name="max_memory",
    users=_SERVER,
    metavar="SIZE",
    parse=partial(positive_size, least=1 << 20, example="1M"),
    default=None,
    help="Hold no more of programs' values than this: puts wait until there is room, what cannot wait fails.",
)
MAX_ATTEMPTS: Final[Setting[int]] = setting(
    name="max_attempts",
    users=_SERVER,
    metavar="N",
    parse=partial(parse_count, least=1),
    default=3,
    help="How often a job may lose its worker process before it is set aside.",
)
DATA: Final[Setting[str | None]] = setting(
    name="data",
    users=_SERVER,
    metavar="FOLDER",
    parse=parse_text,
    default=None,
    help="Keep everything in this folder: a server that was killed goes on from there.",
)
SYNC: Final[Setting[str]] = setting(
    name="sync",
    users=_SERVER,
    metavar="SYNC",
    default="full",
    choices=("full", "normal"),
    help="With --data: what an answered change survives. full: power loss; normal: the server's death.",
)
GRACE: Final[Setting[float]] = setting(
    name="grace",
    users=_SERVER,
    metavar="DURATION",
    parse=parse_duration,
    default=0.5,
    shown="500ms",
    help="How long a client that lost all its connections may stay away before what it holds is passed on.",
)
SESSION_TIMEOUT: Final[Setting[float]] = setting(
    name="session_timeout",
    users=_SERVER,
    metavar="DURATION",
    parse=partial(positive_duration, least_s=0.1, example="100ms"),
    default=30.0,
    shown="30s",
    help="How long a client may be silent, with its connections open, before it counts as dead.",
)
REGISTER: Final[Setting[tuple[str, ...]]] = setting(
    name="register",
    users=_SERVER,
    metavar="MODULE:CLASS",
    parse=parse_texts,
    default=(),
    help="Serve a class of your own to standard-library clients, as BaseManager.register does; may be given "
    "several times.",
)
MD5: Final[Setting[str]] = setting(
    name="md5",
    users=_SERVER,
    metavar="WHEN",
    default="loopback",
    choices=("loopback", "always", "never"),
    help="Whom to allow the HMAC-MD5 handshake, which standard-library clients before Python 3.12 need.",
)
ALLOW_SHUTDOWN: Final[Setting[bool]] = setting(
    name="allow_shutdown",
    users=_SERVER,
    parse=parse_flag,
    default=False,
    help="Let clients stop the server with the standard library's manager.shutdown(). With --admin-key-file "
    "that is for who has the admin key, and needs no other leave.",
)
TCP_ONLY: Final[Setting[bool]] = setting(
    name="tcp_only",
    users=_SERVER,
    parse=parse_flag,
    default=False,
    help="Have programs and workers of this machine use TCP, too, and not a Unix socket, which is faster.",
)
SPIN: Final[Setting[float]] = setting(
    name="spin",
    users=_SERVER,
    metavar="DURATION",
    parse=partial(short_duration, most_s=SPIN_MAX_S, advice="write 1ms or less, 0 for never"),
    default=100e-6,
    shown="0.1ms",
    help="How long the server looks for the next call before it sleeps, while calls follow each other; "
    "programs and workers on its Unix socket look half as long for an answer. 0: never.",
)
LOG_FORMAT: Final[Setting[str]] = setting(
    name="log_format",
    users=("server", "worker"),
    metavar="FORMAT",
    default="console",
    choices=("console", "json"),
    help="Log lines for people, or one JSON object a line for programs.",
)
LOG_LEVEL: Final[Setting[str]] = setting(
    name="log_level",
    users=("server", "worker"),
    metavar="LEVEL",
    default="info",
    choices=("debug", "info", "warning", "error"),
    help="Least important log lines to write.",
)
ADDRESS: Final[Setting[Address | None]] = setting(
    name="address",
    users=("worker", "client"),
    option="--connect",
    metavar="HOST:PORT",
    parse=partial(Address.parse, default_port=DEFAULT_PORT),
    default=None,
    help="Where the server listens: host:port (an IPv6 address in brackets) or unix:/path; "
    f"the port is {DEFAULT_PORT} unless given.",
)
CONNECT_TIMEOUT: Final[Setting[float]] = setting(
    name="connect_timeout",
    users=("worker", "client"),
    metavar="DURATION",
    parse=parse_duration,
    default=30.0,
    shown="30s",
    help="How long to try to reach the server at first.",
)
RECONNECT_TIMEOUT: Final[Setting[float]] = setting(
    name="reconnect_timeout",
    option="",
    users=_CLIENT,
    metavar="DURATION",
    parse=parse_duration,
    default=60.0,
    shown="1m",
    help="How long a program tries to reach a server again that it lost, before its calls raise ServerGone.",
)
WORKER_WAIT: Final[Setting[float]] = setting(
    name="worker_wait",
    option="",
    users=_CLIENT,
    metavar="DURATION",
    parse=parse_duration,
    default=10.0,
    shown="10s",
    help="How long a program that needs a worker waits for the first one. Unset, it gives those of its own "
    "embedded cluster a minute.",
)
PROCESSES: Final[Setting[int | None]] = setting(
    name="processes",
    users=_WORKER,
    env="MPSERVE_WORKER_PROCESSES",
    metavar="N",
    parse=partial(parse_count, least=1),
    default=None,
    help="How many worker processes to run; as many as this machine lets it use cores, unless given.",
)
QUEUE: Final[Setting[str]] = setting(
    name="queue",
    users=_WORKER,
    env="MPSERVE_WORKER_QUEUE",
    metavar="NAME",
    parse=parse_name,
    default="tasks",
    help="Queue to take callables from.",
)
RESULTS: Final[Setting[str]] = setting(
    name="results",
    users=_WORKER,
    env="MPSERVE_WORKER_RESULTS",
    metavar="NAME",
    parse=parse_name,
    default="results",
    help="Queue to put their results on.",
)
MAX_TASKS: Final[Setting[int | None]] = setting(
    name="max_tasks",
    users=_WORKER,
    env="MPSERVE_WORKER_MAX_TASKS",
    metavar="N",
    parse=partial(parse_count, least=1),
    default=None,
    help="Replace a worker process after this many jobs.",
)
WORKER_MAX_MEMORY: Final[Setting[int | None]] = setting(
    name="max_memory",
    users=_WORKER,
    env="MPSERVE_WORKER_MAX_MEMORY",
    metavar="SIZE",
    parse=partial(positive_size, least=32 << 20, example="32M"),
    default=None,
    help="Replace a worker process that holds more memory than this after a job.",
)
MAX_SPAWNED: Final[Setting[int]] = setting(
    name="max_spawned",
    users=_WORKER,
    metavar="N",
    parse=parse_count,
    default=256,
    help="How many processes may run here beside the worker processes: programs' Processes, and stand-ins "
    "for jobs that wait for jobs of their own.",
)
WORKER_NAME: Final[Setting[str | None]] = setting(
    name="name",
    users=_WORKER,
    env="MPSERVE_WORKER_NAME",
    metavar="NAME",
    parse=parse_text,
    default=None,
    help="What to call this worker host in logs and in `mpserve status`; the machine's name unless given.",
)
PYTHONPATH: Final[Setting[tuple[str, ...]]] = setting(
    name="pythonpath",
    users=_WORKER,
    env="MPSERVE_WORKER_PYTHONPATH",
    metavar="FOLDER",
    parse=parse_texts,
    default=(),
    help="Folder or zip file to import modules from, before all others; may be given several times.",
)
CHDIR: Final[Setting[str | None]] = setting(
    name="chdir",
    users=_WORKER,
    env="MPSERVE_WORKER_CHDIR",
    metavar="FOLDER",
    parse=parse_text,
    default=None,
    help="Folder to run jobs in.",
)

TABLE: Final[tuple[Setting[object], ...]] = (
    *(value for value in list(globals().values()) if isinstance(value, Setting)),
    *LIMITS,
)


def for_user(user: User) -> tuple[Setting[object], ...]:
    """List the settings that the server, a worker host or a program reads, in the table's order."""
    return tuple(setting for setting in TABLE if user in setting.users)
