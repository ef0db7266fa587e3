"""THE table of settings: options, environment variables, defaults and their documentation come from it.

RULES
* An option given on the command line wins over the environment, the environment over the default.
* An environment variable that is set to nothing counts as not set (a compose file passes such ones on).
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
    one_of,
    parse_name,
    parse_text,
    parse_texts,
    positive_duration,
    positive_size,
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
_MD5_PARSE, _MD5 = one_of("loopback", "always", "never")
_SYNC_PARSE, _SYNCS = one_of("full", "normal")
_FORMAT_PARSE, _FORMATS = one_of("console", "json")
_LEVEL_PARSE, _LEVELS = one_of("debug", "info", "warning", "error")

HOST: Final[Setting[str]] = Setting(
    name="host",
    users=_SERVER,
    option="--host",
    env="MPSERVE_HOST",
    metavar="HOST",
    parse=parse_text,
    default="127.0.0.1",
    shown="127.0.0.1",
    help="Name or IP address to listen at, or unix:/path for a Unix socket. Other machines reach it only if "
    "this is not a loopback address (0.0.0.0: all IPv4 addresses of this machine).",
)
PORT: Final[Setting[int]] = Setting(
    name="port",
    users=_SERVER,
    option="--port",
    env="MPSERVE_PORT",
    metavar="PORT",
    parse=partial(parse_count, most=65535),
    default=DEFAULT_PORT,
    shown=str(DEFAULT_PORT),
    help="TCP port to listen at; 0 takes a free one and prints it.",
)
ADVERTISE: Final[Setting[Address | None]] = Setting(
    name="advertise",
    users=_SERVER,
    option="--advertise",
    env="MPSERVE_ADVERTISE",
    metavar="HOST:PORT",
    parse=Address.parse,
    default=None,
    shown="",
    help="Address to put into proxies given to standard-library clients, where it differs from the one they "
    "dialled (NAT, containers).",
)
INSECURE: Final[Setting[bool]] = Setting(
    name="insecure",
    users=_SERVER,
    option="--insecure",
    env="MPSERVE_INSECURE",
    metavar="",
    parse=parse_flag,
    default=False,
    shown="",
    help="Listen at an address that other machines reach, although the traffic is not encrypted: for "
    "networks you trust. Not needed with --tls-cert.",
)
PLAIN: Final[Setting[Address | None]] = Setting(
    name="plain",
    users=_SERVER,
    option="--plain",
    env="MPSERVE_PLAIN",
    metavar="ADDRESS",
    parse=partial(Address.parse, default_port=DEFAULT_PORT),
    default=None,
    shown="",
    help="Listen here too, without TLS: a loopback address or unix:/path of this machine, for "
    "standard-library clients, which cannot speak TLS.",
)
TLS_CERT: Final[Setting[str | None]] = Setting(
    name="tls_cert",
    users=("server", "worker", "client"),
    option="--tls-cert",
    env="MPSERVE_TLS_CERT",
    metavar="FILE",
    parse=parse_text,
    default=None,
    shown="",
    help="Own certificate, PEM (`mpserve tls init` makes some). A server that has one speaks TLS 1.3 and "
    "nothing else; a worker or program shows its own to a server that wants one.",
)
TLS_KEY: Final[Setting[str | None]] = Setting(
    name="tls_key",
    users=("server", "worker", "client"),
    option="--tls-key",
    env="MPSERVE_TLS_KEY",
    metavar="FILE",
    parse=parse_text,
    default=None,
    shown="",
    help="Private key of the certificate, PEM, not encrypted, readable by you only.",
)
TLS_CA: Final[Setting[str | None]] = Setting(
    name="tls_ca",
    users=("server", "worker", "client"),
    option="--tls-ca",
    env="MPSERVE_TLS_CA",
    metavar="FILE",
    parse=parse_text,
    default=None,
    shown="",
    help="Certificates of the authorities to trust, PEM. A server with it lets in only clients with a "
    "certificate of theirs; a worker or program with it speaks TLS, and checks that the server has one, for "
    "the name it was dialled by. Over a Unix socket nothing is encrypted, and these variables are not used.",
)
AUTHKEY_FILE: Final[Setting[str | None]] = Setting(
    name="authkey_file",
    users=("server", "worker", "client"),
    option="--authkey-file",
    env="MPSERVE_AUTHKEY_FILE",
    metavar="FILE",
    parse=parse_text,
    default=None,
    shown="",
    help="File with the key that server, workers and programs share (at least 16 bytes, readable by you "
    "only). Without it, and without MPSERVE_AUTHKEY, the file that `mpserve keyfile` names. Programs and "
    "commands give the admin key or the observe key in the same way.",
)
ADMIN_KEY_FILE: Final[Setting[str | None]] = Setting(
    name="admin_key_file",
    users=_SERVER,
    option="--admin-key-file",
    env="MPSERVE_ADMIN_KEY_FILE",
    metavar="FILE",
    parse=parse_text,
    default=None,
    shown="",
    help="File with a key for operators. With it, who has the key of --authkey-file only uses objects and "
    "submits jobs: to delete what others made, empty queues, requeue or drop dead items, release locks and "
    "stop the server needs this one.",
)
OBSERVE_KEY_FILE: Final[Setting[str | None]] = Setting(
    name="observe_key_file",
    users=_SERVER,
    option="--observe-key-file",
    env="MPSERVE_OBSERVE_KEY_FILE",
    metavar="FILE",
    parse=parse_text,
    default=None,
    shown="",
    help="File with a key for those who only look: `mpserve status`, `why` and `ping`; it opens no value and "
    "changes nothing.",
)
KEY_OVERLAP: Final[Setting[float]] = Setting(
    name="key_overlap",
    users=_SERVER,
    option="--key-overlap",
    env="MPSERVE_KEY_OVERLAP",
    metavar="DURATION",
    parse=parse_duration,
    default=3600.0,
    shown="1h",
    help="After a SIGHUP, which has the server read its key files and certificates again: how long the keys "
    "of before still let in. 0: not at all; programs that are connected stay so.",
)
MAX_MEMORY: Final[Setting[int | None]] = Setting(
    name="max_memory",
    users=_SERVER,
    option="--max-memory",
    env="MPSERVE_MAX_MEMORY",
    metavar="SIZE",
    parse=partial(positive_size, least=1 << 20, example="1M"),
    default=None,
    shown="",
    help="Hold no more of programs' values than this: puts wait until there is room, what cannot wait fails.",
)
MAX_ATTEMPTS: Final[Setting[int]] = Setting(
    name="max_attempts",
    users=_SERVER,
    option="--max-attempts",
    env="MPSERVE_MAX_ATTEMPTS",
    metavar="N",
    parse=partial(parse_count, least=1),
    default=3,
    shown="3",
    help="How often a job may lose its worker process before it is set aside.",
)
DATA: Final[Setting[str | None]] = Setting(
    name="data",
    users=_SERVER,
    option="--data",
    env="MPSERVE_DATA",
    metavar="FOLDER",
    parse=parse_text,
    default=None,
    shown="",
    help="Keep everything in this folder: a server that was killed goes on from there.",
)
SYNC: Final[Setting[str]] = Setting(
    name="sync",
    users=_SERVER,
    option="--sync",
    env="MPSERVE_SYNC",
    metavar="SYNC",
    parse=_SYNC_PARSE,
    default="full",
    shown="full",
    choices=_SYNCS,
    help="With --data: what an answered change survives. full: power loss; normal: the server's death.",
)
GRACE: Final[Setting[float]] = Setting(
    name="grace",
    users=_SERVER,
    option="--grace",
    env="MPSERVE_GRACE",
    metavar="DURATION",
    parse=parse_duration,
    default=0.5,
    shown="500ms",
    help="How long a client that lost all its connections may stay away before what it holds is passed on.",
)
SESSION_TIMEOUT: Final[Setting[float]] = Setting(
    name="session_timeout",
    users=_SERVER,
    option="--session-timeout",
    env="MPSERVE_SESSION_TIMEOUT",
    metavar="DURATION",
    parse=partial(positive_duration, least_s=0.1, example="100ms"),
    default=30.0,
    shown="30s",
    help="How long a client may be silent, with its connections open, before it counts as dead.",
)
REGISTER: Final[Setting[tuple[str, ...]]] = Setting(
    name="register",
    users=_SERVER,
    option="--register",
    env="MPSERVE_REGISTER",
    metavar="MODULE:CLASS",
    parse=parse_texts,
    default=(),
    shown="",
    help="Serve a class of your own to standard-library clients, as BaseManager.register does; may be given "
    "several times.",
)
MD5: Final[Setting[str]] = Setting(
    name="md5",
    users=_SERVER,
    option="--md5",
    env="MPSERVE_MD5",
    metavar="WHEN",
    parse=_MD5_PARSE,
    default="loopback",
    shown="loopback",
    choices=_MD5,
    help="Whom to allow the HMAC-MD5 handshake, which standard-library clients before Python 3.12 need.",
)
ALLOW_SHUTDOWN: Final[Setting[bool]] = Setting(
    name="allow_shutdown",
    users=_SERVER,
    option="--allow-shutdown",
    env="MPSERVE_ALLOW_SHUTDOWN",
    metavar="",
    parse=parse_flag,
    default=False,
    shown="",
    help="Let clients stop the server with the standard library's manager.shutdown(). With --admin-key-file "
    "that is for who has the admin key, and needs no other leave.",
)
TCP_ONLY: Final[Setting[bool]] = Setting(
    name="tcp_only",
    users=_SERVER,
    option="--tcp-only",
    env="MPSERVE_TCP_ONLY",
    metavar="",
    parse=parse_flag,
    default=False,
    shown="",
    help="Have programs and workers of this machine use TCP, too, and not a Unix socket, which is faster.",
)
SPIN: Final[Setting[float]] = Setting(
    name="spin",
    users=_SERVER,
    option="--spin",
    env="MPSERVE_SPIN",
    metavar="DURATION",
    parse=partial(short_duration, most_s=SPIN_MAX_S, advice="write 1ms or less, 0 for never"),
    default=100e-6,
    shown="0.1ms",
    help="How long the server looks for the next call before it sleeps, while calls follow each other; "
    "programs and workers on its Unix socket look half as long for an answer. 0: never.",
)
LOG_FORMAT: Final[Setting[str]] = Setting(
    name="log_format",
    users=("server", "worker"),
    option="--log-format",
    env="MPSERVE_LOG_FORMAT",
    metavar="FORMAT",
    parse=_FORMAT_PARSE,
    default="console",
    shown="console",
    choices=_FORMATS,
    help="Log lines for people, or one JSON object a line for programs.",
)
LOG_LEVEL: Final[Setting[str]] = Setting(
    name="log_level",
    users=("server", "worker"),
    option="--log-level",
    env="MPSERVE_LOG_LEVEL",
    metavar="LEVEL",
    parse=_LEVEL_PARSE,
    default="info",
    shown="info",
    choices=_LEVELS,
    help="Least important log lines to write.",
)
ADDRESS: Final[Setting[Address | None]] = Setting(
    name="address",
    users=("worker", "client"),
    option="--connect",
    env="MPSERVE_ADDRESS",
    metavar="HOST:PORT",
    parse=partial(Address.parse, default_port=DEFAULT_PORT),
    default=None,
    shown="",
    help="Where the server listens: host:port (an IPv6 address in brackets) or unix:/path; "
    f"the port is {DEFAULT_PORT} unless given.",
)
CONNECT_TIMEOUT: Final[Setting[float]] = Setting(
    name="connect_timeout",
    users=("worker", "client"),
    option="--connect-timeout",
    env="MPSERVE_CONNECT_TIMEOUT",
    metavar="DURATION",
    parse=parse_duration,
    default=30.0,
    shown="30s",
    help="How long to try to reach the server at first.",
)
RECONNECT_TIMEOUT: Final[Setting[float]] = Setting(
    name="reconnect_timeout",
    users=_CLIENT,
    env="MPSERVE_RECONNECT_TIMEOUT",
    metavar="DURATION",
    parse=parse_duration,
    default=60.0,
    shown="1m",
    help="How long a program tries to reach a server again that it lost, before its calls raise ServerGone.",
)
WORKER_WAIT: Final[Setting[float]] = Setting(
    name="worker_wait",
    users=_CLIENT,
    env="MPSERVE_WORKER_WAIT",
    metavar="DURATION",
    parse=parse_duration,
    default=10.0,
    shown="10s",
    help="How long a program that needs a worker waits for the first one.",
)
PROCESSES: Final[Setting[int | None]] = Setting(
    name="processes",
    users=_WORKER,
    option="--processes",
    env="MPSERVE_WORKER_PROCESSES",
    metavar="N",
    parse=partial(parse_count, least=1),
    default=None,
    shown="",
    help="How many worker processes to run; as many as this machine lets it use cores, unless given.",
)
QUEUE: Final[Setting[str]] = Setting(
    name="queue",
    users=_WORKER,
    option="--queue",
    env="MPSERVE_WORKER_QUEUE",
    metavar="NAME",
    parse=parse_name,
    default="tasks",
    shown="tasks",
    help="Queue to take callables from.",
)
RESULTS: Final[Setting[str]] = Setting(
    name="results",
    users=_WORKER,
    option="--results",
    env="MPSERVE_WORKER_RESULTS",
    metavar="NAME",
    parse=parse_name,
    default="results",
    shown="results",
    help="Queue to put their results on.",
)
MAX_TASKS: Final[Setting[int | None]] = Setting(
    name="max_tasks",
    users=_WORKER,
    option="--max-tasks",
    env="MPSERVE_WORKER_MAX_TASKS",
    metavar="N",
    parse=partial(parse_count, least=1),
    default=None,
    shown="",
    help="Replace a worker process after this many jobs.",
)
WORKER_MAX_MEMORY: Final[Setting[int | None]] = Setting(
    name="max_memory",
    users=_WORKER,
    option="--max-memory",
    env="MPSERVE_WORKER_MAX_MEMORY",
    metavar="SIZE",
    parse=partial(positive_size, least=32 << 20, example="32M"),
    default=None,
    shown="",
    help="Replace a worker process that holds more memory than this after a job.",
)
MAX_SPAWNED: Final[Setting[int]] = Setting(
    name="max_spawned",
    users=_WORKER,
    option="--max-spawned",
    env="MPSERVE_MAX_SPAWNED",
    metavar="N",
    parse=parse_count,
    default=256,
    shown="256",
    help="How many processes may run here beside the worker processes: programs' Processes, and stand-ins "
    "for jobs that wait for jobs of their own.",
)
WORKER_NAME: Final[Setting[str | None]] = Setting(
    name="name",
    users=_WORKER,
    option="--name",
    env="MPSERVE_WORKER_NAME",
    metavar="NAME",
    parse=parse_text,
    default=None,
    shown="",
    help="What to call this worker host in logs and in `mpserve status`; the machine's name unless given.",
)
PYTHONPATH: Final[Setting[tuple[str, ...]]] = Setting(
    name="pythonpath",
    users=_WORKER,
    option="--pythonpath",
    env="MPSERVE_WORKER_PYTHONPATH",
    metavar="FOLDER",
    parse=parse_texts,
    default=(),
    shown="",
    help="Folder to import modules from, before all others; may be given several times.",
)
CHDIR: Final[Setting[str | None]] = Setting(
    name="chdir",
    users=_WORKER,
    option="--chdir",
    env="MPSERVE_WORKER_CHDIR",
    metavar="FOLDER",
    parse=parse_text,
    default=None,
    shown="",
    help="Folder to run jobs in.",
)

TABLE: Final[tuple[Setting[object], ...]] = (
    *(value for value in list(globals().values()) if isinstance(value, Setting)),
    *LIMITS,
)


def for_user(user: User) -> tuple[Setting[object], ...]:
    """List the settings that the server, a worker host or a program reads, in the table's order."""
    return tuple(setting for setting in TABLE if user in setting.users)
