"""What a worker process knows of the pools whose jobs it runs: settings, spec, functions, how far it is.

RULES
* Nothing is asked of the server twice: a pool's spec once per version, a function once per program (of pools
  with an initializer: once per pool).
* A process that ran an initializer of a program, or imported modules that it brought along, is that program's
  from then on (`owner`). Given anybody else's jobs, or a spec that means other modules of the same names, it
  must hand them back and end: `Unfit`.
* What belongs to a pool that is gone, the things that its initializer made included, is dropped before the
  next new pool is served.
* An initializer runs in the middle of the first job, so that a process killed by it has an attempt of that
  job counted. It is not tried again: what it raised is the result of each job of its pool here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from mpclient.values.jobs_format import Spec, load_source, load_spec
from mpclient.values.pickling import loads
from mpclient.worker.jobs.left_behind import Space, Watching
from mpclient.worker.jobs.shipped import Finder
from mpshared.errors import MpserveError, NoSuchObject, ServerGone
from mpshared.ops import BY_NAME
from mpshared.values import Blob, size_bytes

if TYPE_CHECKING:
    from mpclient.session import Session

__all__ = ["Functions", "Pool", "Pools", "Unfit"]

_SPEC: Final = BY_NAME["pool.spec"]
_LEARN: Final = BY_NAME["pool.learn"]

_MOST_FUNCTIONS: Final = 1000
_MOST_FUNCTION_BYTES: Final = 256 << 20
"""Of their pickles. A function may carry a model of 100 MiB; a program that makes a new one for each call
must not fill the memory."""


class Unfit(Exception):
    """This process must not run the batch; another one can."""


class Functions:
    """The functions of one program, or of one pool, by digest; those learned first go first."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._total_bytes = 0

    def add(self, digest: str, function: Any, size_bytes: int) -> None:
        """Keep a function."""
        self.known[digest] = function
        self._sizes[digest] = size_bytes
        self._total_bytes += size_bytes
        while len(self.known) > 1 and self._is_full():
            oldest = next(iter(self.known))
            del self.known[oldest]
            self._total_bytes -= self._sizes.pop(oldest)

    def _is_full(self) -> bool:
        return len(self.known) > _MOST_FUNCTIONS or self._total_bytes > _MOST_FUNCTION_BYTES


@dataclass(slots=True, eq=False)
class Pool:
    """One pool as this process knows it."""

    ident: str
    program: str
    """Session id of the program that it belongs to."""
    max_tasks: int
    """A process may run so many of its jobs; 0: any number."""
    version: int
    spec: Spec
    functions: Functions
    label: str = field(init=False)
    """How messages name it."""
    run: int = 0
    """How many of its jobs were run here."""
    ready: bool = field(init=False)
    """Whether jobs can begin: there is no initializer, or it has run."""
    left_behind: Space | None = None
    """What its initializer has left in its globals, once it has run."""
    failure: Blob | None = None
    """The result of every job of it in this process: it cannot run any."""

    def __post_init__(self) -> None:
        self.label = f"pool {self.spec.name or self.ident!r}"
        self.ready = self.spec.initializer is None

    def take_over(self, before: Pool) -> None:
        """Go on as the same pool under its spec of before did."""
        self.run = before.run
        if before.spec.initializer == self.spec.initializer:
            self.ready, self.failure = before.ready, before.failure
            self.functions, self.left_behind = before.functions, before.left_behind

    @property
    def left(self) -> int | None:
        """How many more of its jobs this process may run; None: any number."""
        return max(0, self.max_tasks - self.run) if self.max_tasks else None


class Pools:
    """See the file's beginning. Made before any job is run.

    Args:
        session: Whose jobs they are.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[str, Pool] = {}
        self._functions: dict[str, Functions] = {}
        self._finder = Finder(self._fetch_source, self._own)
        self._finder.install()
        self._current: Pool | None = None
        self.owner: str | None = None
        """The program that alone may use this process; None: any, and recipe jobs too."""
        self.taken = ""
        """Name of a module that the current pool ships and no worker process can take."""

    def enter(self, ident: str, version: int) -> Pool:
        """Get ready for a batch of a pool, whose spec has this version or a later one.

        Raises:
            Unfit: Hand the batch back and end.
            NoSuchObject: The pool is gone, and the batch with it.
        """
        pool = self._known.pop(ident, None)
        if pool is None or pool.version < version:
            if pool is None:
                self._forget_the_gone()
            pool = self._ask(ident, pool)
        self._known[ident] = pool
        self._current = pool
        self._check(pool)
        self._finder.offer(pool.spec.shipped)
        return pool

    def _ask(self, ident: str, before: Pool | None) -> Pool:
        reply = self._session.call(_SPEC, ident, [])
        settings, version = reply.result
        spec = load_spec(reply.blobs[0]) if reply.blobs else Spec()
        program = settings["program"]
        own = spec.initializer is not None  # its functions find what the initializer left behind
        functions = Functions() if own else self._functions.setdefault(program, Functions())
        pool = Pool(ident, program, settings["max_tasks"], version, spec, functions)
        if before is not None:
            pool.take_over(before)
        return pool

    def _forget_the_gone(self) -> None:
        """Look whether those that were served longest ago still exist; two for each new one keep up."""
        for ident in list(islice(self._known, 2)):
            pool = self._known.pop(ident)
            try:
                self._session.call(_SPEC, ident, [])
            except NoSuchObject:
                if all(other.program != pool.program for other in self._known.values()):
                    self._functions.pop(pool.program, None)
            else:
                self._known[ident] = pool

    def _check(self, pool: Pool) -> None:
        """Raise `Unfit` where another process has to run this pool's jobs."""
        if self.owner not in {None, pool.program}:
            raise Unfit
        verdict, module = self._finder.judge(pool.spec.shipped)
        if verdict == "stale":
            raise Unfit
        self.taken = module if verdict == "taken" else ""

    def open_initializer(self, pool: Pool, blob: Blob) -> tuple[Any, tuple[Any, ...], Watching]:
        """Return a pool's initializer, its arguments, and who knows where it leaves things behind.

        The process is its program's from now on.

        Raises:
            Whatever opening them raises.
        """
        self.owner = pool.program
        watching = Watching()
        function, arguments = loads(blob, self._session, watching.load)
        return function, tuple(arguments), watching

    def fetch(self, pool: Pool, digest: str) -> Blob:
        """Return what a pool keeps under a digest.

        Raises:
            MpserveError: It keeps nothing under it, or it is gone itself.
            ServerGone: The session is over.
        """
        blob: Blob = self._session.call(_LEARN, pool.ident, [digest]).blobs[0]
        return blob

    def learn(self, pool: Pool, digest: str, blob: Blob) -> Any:
        """Open a function and keep it.

        Raises:
            Whatever opening it raises.
        """
        function = self.open(pool, blob)
        pool.functions.add(digest, function, size_bytes(blob))
        return function

    def open(self, pool: Pool, blob: Blob) -> Any:
        """Open a function or a job of a pool; functions by value find what the initializer left behind."""
        if type(blob) is bytes or pool.left_behind is None:
            return loads(blob, self._session)
        return loads(blob, self._session, Watching(pool.left_behind).load)

    # -- shipped modules -------------------------------------------------------------------------

    def _own(self) -> None:
        """Note that a module of the current pool's program is imported."""
        if self._current is not None:
            self.owner = self._current.program

    def _fetch_source(self, digest: str) -> tuple[bytes, str]:
        pool = self._current
        assert pool is not None  # nothing is offered before
        try:
            return load_source(self.fetch(pool, digest))
        except ServerGone:
            raise
        except MpserveError as err:
            raise ImportError(f"a shipped module's source cannot be had from {pool.label}: {err}") from None
