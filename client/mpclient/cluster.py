"""A cluster as a program sees it: one server, its workers, and (see `factories`) the shared objects."""

from __future__ import annotations

import os
import sys
import time
from builtins import dict as _dict
from builtins import list as _list
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

from mpclient.factories import Factories
from mpclient.objects.base import is_spawning
from mpclient.objects.readers import as_bool, plain
from mpclient.offers import Offers
from mpclient.session import Describes, Session
from mpclient.values.pickling import ProxyBase
from mpshared.address import Address
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from types import ModuleType, TracebackType

    from mpclient.executor import Executor
    from mpclient.job import Job, Submitter
    from mpclient.local import LocalCluster
    from mpclient.pool import Pool
    from mpclient.process import Process
    from mpclient.transport.term import SessionBase
    from mpshared.keys import Key
    from mpshared.tls import ClientTls

__all__ = ["Cluster", "ClusterBase", "connect", "make_cluster", "read_key", "read_place", "read_tls"]

_DELETE: Final = BY_NAME["cluster.delete"]
_LIST: Final = BY_NAME["cluster.list_objects"]
_STATUS: Final = BY_NAME["cluster.status"]
_TLS: Final = frozenset({"MPSERVE_TLS_CERT", "MPSERVE_TLS_KEY", "MPSERVE_TLS_CA"})


def connect(
    address: str | tuple[str, int] | Address | None = None,
    authkey: bytes | str | None = None,
    *,
    name: str = "",
    authkey_file: str | os.PathLike[str] | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
    tls_cert: str | os.PathLike[str] | None = None,
    tls_key: str | os.PathLike[str] | None = None,
    connect_timeout: float | None = None,
    reconnect_timeout: float | None = None,
) -> Cluster:
    """Connect to a server and return the cluster behind it.

    Args:
        address: ``"host:port"``, ``(host, port)``, ``"unix:/path"``. None: ``MPSERVE_ADDRESS``; without that
            a server and workers of this program's own, which end with it. Without any argument: the
            default cluster (`mpclient.default`), if there is one already.
        authkey: The key that server and programs share. None: found as `mpserve keyfile` says. A server of
            this program's own has one made for it, and asks for no other.
        name: What `mpserve status` calls this program.
        authkey_file: A file with the key, instead of the usual ones.
        tls_ca: Speak TLS, with a server whose certificate is from one of the authorities in this file
            (``MPSERVE_TLS_CA``).
        tls_cert: A file with this program's own certificate, for a server that wants one
            (``MPSERVE_TLS_CERT``).
        tls_key: Its private key (``MPSERVE_TLS_KEY``).
        connect_timeout: Seconds to look for the server (``MPSERVE_CONNECT_TIMEOUT``, 30).
        reconnect_timeout: Seconds to look for it again when it is lost (``MPSERVE_RECONNECT_TIMEOUT``, 60).

    Raises:
        ServerGone: No server answered in time.
        NotAllowed: The key is another, or one side does not accept the other's certificate.
        ProtocolViolation: Something else answered, or an incompatible version, or only one side speaks TLS.
        AddressError, KeyProblem, TlsProblem: The address, the key or a certificate's file cannot be used (all
            are ValueErrors).
    """
    from mpclient.default import find_chosen, offer_default  # noqa: PLC0415 - the import would be circular

    tls_files, limits = (tls_cert, tls_key, tls_ca), (connect_timeout, reconnect_timeout)
    given = address, authkey, name or None, authkey_file, *tls_files, *limits
    cluster = find_chosen() if given == (None,) * len(given) else None
    if cluster is None:
        cluster = make_cluster(address, authkey, name, authkey_file, tls_files, *limits)
        offer_default(cluster)
    return cluster


def make_cluster(
    address: str | tuple[str, int] | Address | None = None,
    authkey: bytes | str | None = None,
    name: str = "",
    authkey_file: str | os.PathLike[str] | None = None,
    tls_files: tuple[str | os.PathLike[str] | None, ...] = (),
    connect_timeout: float | None = None,
    reconnect_timeout: float | None = None,
) -> Cluster:
    """Connect to a server, or start one, whatever the default cluster is; see `connect`."""
    place, limits = read_place(address, connect_timeout, reconnect_timeout)
    if place is None:
        from mpclient.local import start_local  # noqa: PLC0415 - only where there is no server

        return start_local(name, **limits)
    key, tls = read_key(authkey, authkey_file), read_tls(place, *tls_files)
    session = Session(place, key, Describes(name=name), tls=tls, **limits)
    session.start()
    return Cluster(session)


def read_place(
    address: str | tuple[str, int] | Address | None,
    connect_timeout: float | None,
    reconnect_timeout: float | None,
) -> tuple[Address | None, _dict[str, float]]:
    """Return where to connect to (None: to a server of this program's own), and how long to try."""
    from mpshared import settings  # noqa: PLC0415 - a proxy that resolves itself needs none of it

    return settings.ADDRESS.read(_address(address)), {
        "connect_timeout_s": settings.CONNECT_TIMEOUT.read(_seconds("connect_timeout", connect_timeout)),
        "reconnect_timeout_s": settings.RECONNECT_TIMEOUT.read(
            _seconds("reconnect_timeout", reconnect_timeout)
        ),
    }


def _seconds(name: str, given: float | None) -> float | None:
    if given is not None and not isinstance(given, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {given!r:.80}")
    if given is not None and not given >= 0:
        raise ValueError(f"{name} must be 0 seconds or more, not {given!r}")
    return given


def _address(given: str | tuple[str, int] | Address | None) -> Address | None:
    if given is None or isinstance(given, Address):
        return given
    if isinstance(given, str):
        from mpshared.address import DEFAULT_PORT  # noqa: PLC0415

        return Address.parse(given, default_port=DEFAULT_PORT)
    return Address.from_sockaddr(given)


def read_key(given: bytes | str | None, file: str | os.PathLike[str] | None) -> bytes | Key:
    """Return the key: what was given, or what is found, and where."""
    if given is not None:
        return given.encode() if isinstance(given, str) else bytes(given)
    from mpshared.keys import find_key  # noqa: PLC0415 - not where the key was given

    return find_key(file)


def read_tls(
    place: Address,
    cert: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    ca: str | os.PathLike[str] | None = None,
) -> ClientTls | None:
    """Return how to speak TLS at a place: as was given, or as the environment says; None: not at all."""
    if not (cert or key or ca or os.environ.keys() & _TLS):
        return None  # nothing is loaded for it
    from mpshared.tls import find_client_tls  # noqa: PLC0415

    return find_client_tls(place, cert, key, ca)


class ClusterBase(ProxyBase):
    """What a cluster is, whoever drives its calls: threads, or asyncio (`mpclient.aio.cluster`)."""

    session: Any

    def __repr__(self) -> str:
        return f"<Cluster at {self.address}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy elsewhere is the receiver's own connection: what travels is only where the server is.
        session = self.session
        if is_spawning():
            return _cluster_with_key, (str(session.address), session.key, session.tls)
        return _cluster_at, (session.advertise or str(session.address),)

    def _mention(self, session: SessionBase) -> tuple[tuple[Any, ...], tuple[str, ...]] | None:
        if self.session is not session and self.session.server_id != session.server_id:
            return None
        return (_cluster_at, ("",)), ()

    @property
    def address(self) -> str:
        """Where the server is, as one types it."""
        return str(self.session.address)


class Cluster(Factories, Offers, ClusterBase):
    """One server, its workers, and the shared objects on it. Safe in threads; usable in forked children.

    Make it with `connect`. Closing it (also by `with`) says goodbye; what this program held is free then.
    """

    def __init__(self, session: Session, *, owns: LocalCluster | None = None, borrowed: bool = False) -> None:
        self.session = session
        """This process's session with the server."""
        self._owns = owns
        self._borrowed = borrowed

    def close(self) -> None:
        """Say goodbye; what this program held is free. An embedded server and its workers end.

        One that came in a value is only borrowed: it stays open for whoever opened it.
        """
        if self._borrowed:
            return
        self._finish_processes()
        self.session.close()
        owns, self._owns = self._owns, None
        if owns is not None:
            owns.stop()

    def _finish_processes(self, *, interrupted: bool = False) -> None:
        """Terminate daemons, wait for the other Processes: as a program's end does."""
        process = sys.modules.get("mpclient.process")
        if process is not None and not self.session.closed:
            process.finish(self.session, interrupted=interrupted)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._borrowed:
            self._finish_processes(interrupted=exc_type is KeyboardInterrupt)
        self.close()

    def _find_cluster(self) -> Cluster:
        return self

    # -- the cluster -----------------------------------------------------------------------------

    def delete(self, name: str, kind: str | None = None) -> bool:
        """Delete the object of that name; return whether there was one. Who waits for it gets `NoSuchObject`.

        Raises:
            Conflict: Several kinds have an object of that name, and `kind` ("queue", "dict", …) is not given.
        """
        return self.session.call(_DELETE, "", [name, kind], (), as_bool)  # type: ignore[no-any-return]

    def objects(self) -> _list[_dict[str, Any]]:
        """Return a description of each named object: its name, kind and settings."""
        return self.session.call(_LIST, "", [], (), plain)  # type: ignore[no-any-return]

    def status(self) -> _dict[str, Any]:
        """Return what `mpserve status` shows: sessions and objects, as plain data."""
        return self.session.call(_STATUS, "", [], (), plain)  # type: ignore[no-any-return]

    # -- work ------------------------------------------------------------------------------------

    @cached_property
    def Process(self) -> type[Process]:  # noqa: N802 - the standard library's name
        """The class of processes that run on this cluster's hosts; see `mpclient.process.Process`."""
        from mpclient.process import bound_to  # noqa: PLC0415 - most programs start none

        return bound_to(self)

    def Pool(  # noqa: N802 - the standard library's name
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        *,
        max_attempts: int | None = None,
        name: str = "",
    ) -> Pool:
        """Return the cluster's workers as a Pool; see `mpclient.pool.Pool`."""
        from mpclient.pool import Pool  # noqa: PLC0415 - not every program has one

        more: Any = {"max_attempts": max_attempts, "name": name}
        return Pool(processes, initializer, initargs, maxtasksperchild, self, **more)

    def executor(
        self,
        max_workers: int | None = None,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        max_tasks_per_child: int | None = None,
        max_attempts: int | None = None,
        name: str = "",
    ) -> Executor:
        """Return the workers as a `concurrent.futures.Executor`; see `mpclient.executor.Executor`."""
        from mpclient.executor import Executor  # noqa: PLC0415 - as above

        more: Any = {"max_attempts": max_attempts, "name": name}
        return Executor(
            max_workers, self, initializer, initargs, max_tasks_per_child=max_tasks_per_child, **more
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job:
        """Have ``fn(*args, **kwargs)`` called by a worker, also if this program ends; return the job.

        Any program may fetch its result with ``cluster.job(job.id)``, within an hour or as `options` says.

        Raises:
            As `mpclient.job.Submitter.submit`.
        """
        return self.options().submit(fn, *args, **kwargs)

    def options(self, **terms: Any) -> Submitter:
        """Return what submits jobs on terms: ``cluster.options(key="a", ttl=86400).submit(f, x)``.

        Args:
            **terms: What `mpshared.terms` has: key, ttl, retries, delay, timeout, …

        Raises:
            TypeError, ValueError: There is no such term, or it cannot be that.
        """
        from mpclient.job import Submitter  # noqa: PLC0415 - not every program has such jobs
        from mpshared.terms import Terms  # noqa: PLC0415

        return Submitter(self, Terms.asked(**terms))

    def job(self, ident: str) -> Job:
        """Return the job of that id, wherever it was submitted; see `mpclient.job.Job`.

        Raises:
            ValueError: That is no id.
            NoSuchObject: It is not known, or its result is not kept any more.
        """
        from mpclient.job import find_job  # noqa: PLC0415 - as above

        return find_job(self, ident)

    def ship(self, module_or_path: ModuleType | str | os.PathLike[str]) -> _list[str]:
        """Have this program's pools and Processes find a module or package that only this host has.

        Returns:
            The names of its modules; see `mpclient.ship.ship`.
        """
        from mpclient.ship import ship  # noqa: PLC0415 - as above

        return ship(self.session, module_or_path)

    def cpu_count(self) -> int:
        """Return how many jobs the connected workers can run at once; waits for the first worker.

        Raises:
            NoWorkers: None came within ``MPSERVE_WORKER_WAIT`` (10 s; those of its own: a minute).
        """
        from mpclient.local import worker_wait_s  # noqa: PLC0415 - not every program asks
        from mpclient.output.no_worker import none_came  # noqa: PLC0415
        from mpclient.pooling.vigil import slots_of  # noqa: PLC0415

        wait_s = worker_wait_s(self.session)
        deadline_s = time.monotonic() + wait_s
        while not (slots := slots_of(self.session)):
            if time.monotonic() >= deadline_s:
                raise none_came(self.session, wait_s)
            self.session.pause(0.1)
        return slots


def _cluster_at(address: str) -> Cluster:
    """Open a pickled `Cluster`: this process's own connection to the same server ("": where it came from)."""
    from mpclient.resolve import session_for  # noqa: PLC0415 - the import would be circular

    return session_for(address).borrowed()  # type: ignore[no-any-return]


def _cluster_with_key(address: str, key: bytes, tls: ClientTls | None) -> Cluster:
    """Open a `Cluster` in a child process of the program that pickled it."""
    from mpclient.resolve import learn_key  # noqa: PLC0415 - only in children

    learn_key(address, key, tls)
    return _cluster_at(address)
