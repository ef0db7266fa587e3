"""What the module `mpclient`, each `Cluster` and each context offer alike, beside the shared objects.

RULES
* Names, arguments and errors are those of `multiprocessing`. What cannot be honoured on another machine is
  refused and says what to do instead.
* Nothing of the standard library's package is imported before it is needed: it is larger than ours.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from mpshared.errors import BadValue, NotSupported
from mpshared.interpreters import freeze_support

if TYPE_CHECKING:
    from logging import Logger
    from multiprocessing.process import BaseProcess

    from mpclient.cluster import Cluster
    from mpclient.context import BaseContext
    from mpclient.managers import Manager
    from mpclient.objects.t_array import RawArray
    from mpclient.objects.t_value import RawValue

__all__ = ["METHODS", "Offers", "check_method"]

METHODS: Final = ("spawn", "forkserver") if sys.version_info < (3, 14) else ("forkserver", "spawn")
"""The start methods there are, first that of a program that chooses none, as on Linux in this Python. Here
they mean the same: a process that has nothing but what it is given."""


class _Standard:
    """A name of `multiprocessing` that is the standard library's own, imported when it is asked for."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        import multiprocessing  # noqa: PLC0415 - heavy

        return getattr(multiprocessing, self._name)


class Offers:
    """The names of `multiprocessing` that belong to a cluster, and those that belong to none."""

    _start_method: str | None = None

    ProcessError = _Standard()
    BufferTooShort = _Standard()
    TimeoutError = _Standard()
    AuthenticationError = _Standard()

    @abstractmethod
    def _find_cluster(self) -> Cluster:
        """Return the cluster that is meant; connects to the default one if need be."""

    # -- of the cluster --------------------------------------------------------------------------

    def Manager(self) -> Manager:  # noqa: N802 - the standard library's name
        """Return a started manager: what makes shared dicts, lists, namespaces, queues and locks."""
        from mpclient.managers import Manager  # noqa: PLC0415 - not every program has one

        manager = Manager(ctx=self)
        manager.start()
        return manager

    def RawValue(self, typecode_or_type: Any, *args: Any) -> RawValue:  # noqa: N802
        """Return a shared number without a lock; see `Cluster.Value`."""
        return self._find_cluster().Value(typecode_or_type, *args, lock=False)

    def RawArray(self, typecode_or_type: Any, size_or_initializer: int | Sequence[Any]) -> RawArray:  # noqa: N802
        """Return a shared array without a lock; see `Cluster.Array`."""
        return self._find_cluster().Array(typecode_or_type, size_or_initializer, lock=False)

    # -- start methods ---------------------------------------------------------------------------

    def get_context(self, method: str | None = None) -> BaseContext:
        """Return an object with the names of this module, for one start method (None: the usual one).

        Raises:
            ValueError: There is no such method, or it is "fork": a child on another machine cannot have its
                parent's memory.
        """
        from mpclient.context import context_for  # noqa: PLC0415 - it imports this module

        if method is None:
            method = self._start_method = self._start_method or METHODS[0]
        return context_for(check_method(method), self)

    def get_start_method(self, allow_none: bool = False) -> str | None:
        """Return the start method; it is settled by that, unless `allow_none` may give None instead."""
        if self._start_method is None and not allow_none:
            self._start_method = METHODS[0]
        return self._start_method

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Settle the start method; None with `force` takes back what was settled.

        Raises:
            RuntimeError: It is settled already, and `force` is not given.
            ValueError: As `get_context`.
        """
        if self._start_method is not None and not force:
            raise RuntimeError("context has already been set")
        if method is None:
            self._start_method = None if force else METHODS[0]
        else:
            self._start_method = check_method(method)

    def get_all_start_methods(self) -> list[str]:
        """Return the start methods, the usual one first."""
        return list(METHODS)

    def set_executable(self, executable: str) -> NoReturn:
        """Refuse: worker hosts choose their own Python."""
        raise NotSupported(
            f"set_executable({executable!r:.80}): worker processes run the Python that mpworker was started "
            f"with on each host; start it there with the one you want, and leave this call out"
        )

    def set_forkserver_preload(self, module_names: list[str], *, on_error: str = "ignore") -> NoReturn:
        """Refuse: the fork servers of worker hosts serve more than this program."""
        _ = on_error
        raise NotSupported(
            f"set_forkserver_preload({module_names!r:.80}): the fork servers of the worker hosts serve all "
            f"programs and load nothing for one of them; leave this call out"
        )

    # -- of this process -------------------------------------------------------------------------

    def current_process(self) -> BaseProcess:
        """Return the object that stands for this process."""
        import multiprocessing  # noqa: PLC0415 - heavy

        return multiprocessing.current_process()

    def parent_process(self) -> BaseProcess | None:
        """Return the object that stands for the parent process, None in a main process."""
        import multiprocessing  # noqa: PLC0415 - heavy

        return multiprocessing.parent_process()

    def active_children(self) -> list[BaseProcess]:
        """Return the living child processes of this one; those that have ended are joined."""
        from mpclient import process  # noqa: PLC0415 - heavy

        return process.active_children()

    def get_logger(self) -> Logger:
        """Return the logger that `multiprocessing` has."""
        import multiprocessing  # noqa: PLC0415 - heavy

        return multiprocessing.get_logger()

    def log_to_stderr(self, level: str | int | None = None) -> Logger:
        """Have that logger write to standard error; return it."""
        import multiprocessing  # noqa: PLC0415 - heavy

        return multiprocessing.log_to_stderr(level)

    def freeze_support(self) -> None:
        """Run a server or workers, and exit, in a frozen program that was started for it; see
        `mpshared.interpreters`.
        """
        freeze_support()

    def allow_connection_pickling(self) -> None:
        """Do nothing: connections can always be pickled."""

    @property
    def reducer(self) -> NoReturn:
        """Refuse: values are pickled by this package."""
        raise _NotThere(
            "reducer: what is sent to other machines is pickled by mpclient itself; tell it how to pickle a "
            "type with copyreg.pickle(), or with a __reduce__ method"
        )


class _NotThere(NotSupported, AttributeError):
    """What is refused is an attribute: `hasattr`, and who goes through all of them, find it not there."""


def check_method(method: Any) -> str:
    """Return the name of a start method if there is one; see `Offers.get_context`."""
    if method in METHODS:
        return str(method)
    if method == "fork":
        raise BadValue(
            "the start method 'fork' gives a child its parent's memory, which another machine does not have: "
            "use 'spawn' or 'forkserver', and hand over what the child needs as arguments"
        )
    raise ValueError(f"cannot find context for {method!r}")
