"""The functions of one pool: each travels once, under a digest of what it is.

| callable                             | how it is named in a job                                         |
|--------------------------------------|------------------------------------------------------------------|
| function, builtin function, class    | taught once per pool; the same object is not even pickled again  |
| `partial` of one, called once        | unwrapped: what the partial holds becomes arguments              |
| method, other object, called once    | an argument of `operator.call`: its state belongs to the call    |
| the last two, called for many items  | lent: taught with the state that it has then, forgotten after it |

RULES
* What a function refers to is what it was when the pool first saw the function: workers of the standard
  library's Pool, forked when the pool began, know no later state either.
* A cache holds the function itself: another one that is made later at its address is not mistaken for it.
"""

from __future__ import annotations

import functools
import operator
import threading
from collections import Counter
from collections.abc import Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from mpclient.pooling.refusal import pickled
from mpclient.values.jobs_format import CALL, digest_of
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.session import Session
    from mpshared.values import Blob

__all__ = ["Functions"]

_TEACH: Final = BY_NAME["pool.teach"]
_FORGET: Final = BY_NAME["pool.forget"]
_PLACEHOLDER: Final[object] = getattr(functools, "Placeholder", object())
"""From Python 3.14 on: where a partial leaves a place among its arguments."""
_KEPT: Final = 4096
"""Functions that are remembered; a program that makes more of them has the oldest pickled again."""


class Functions:
    """What one pool has been taught."""

    def __init__(self, session: Session, ident: str) -> None:
        self._session = session
        self._ident = ident
        self._digests: dict[int, tuple[Any, str]] = {}
        """Digest by address, with the function itself."""
        self._taught: set[str] = set()
        self._loans: Counter[str] = Counter()
        """How many streams of jobs use what is to be forgotten after them."""
        self._lock = threading.Lock()
        """Held while the server is told: it must hear what is taught and forgotten in our order."""

    def call(self, function: Any, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the job that calls `function` once."""
        while type(function) is partial and type(args) is tuple and not _leaves_places(function):
            args = (*function.args, *args)
            kwargs = {**function.keywords, **kwargs}
            function = function.func
        if _lasts(function):
            return CALL, self.digest(function), args, kwargs
        return CALL, self.digest(operator.call), (function, *args), kwargs

    def digest(self, function: Any) -> str:
        """Return what a function is taught under; teach it if need be.

        Raises:
            Whatever pickling it raises, with the name of what cannot travel.
            NoWorkers: It needs this Python, and the workers that are connected have others.
        """
        known = self._digests.get(id(function))
        if known is not None:
            return known[1]
        digest = self.teach(self._pickled(function))
        if _lasts(function):
            self._remember(function, digest)
        return digest

    def teach(self, blob: Blob) -> str:
        """Have the pool keep a value under its digest, which is returned."""
        digest = digest_of(blob)
        if digest not in self._taught:
            with self._lock:
                self._teach(digest, blob)
        return digest

    def _teach(self, digest: str, blob: Blob) -> None:
        if digest not in self._taught:
            self._session.call(_TEACH, self._ident, [digest], (blob,))
            self._taught.add(digest)

    # -- for many items --------------------------------------------------------------------------

    def lend(self, function: Any) -> tuple[str, str | None]:
        """Return what a function is taught under, and that once more if it is to be given back."""
        if _lasts(function):
            return self.digest(function), None
        blob = self._pickled(function)
        digest = digest_of(blob)
        with self._lock:
            self._teach(digest, blob)
            self._loans[digest] += 1
        return digest, digest

    def give_back(self, digest: str) -> None:
        """Have the pool forget what was lent, unless somebody else uses it."""
        with self._lock:
            self._loans[digest] -= 1
            if self._loans[digest] <= 0:
                del self._loans[digest]
                self._taught.discard(digest)
                self._session.call_patiently(_FORGET, self._ident, [digest])

    def _pickled(self, function: Any) -> Blob:
        return pickled(function, [("function", function)], self._session)

    def _remember(self, function: Any, digest: str) -> None:
        with self._lock:
            while len(self._digests) >= _KEPT:
                del self._digests[next(iter(self._digests))]
            self._digests[id(function)] = function, digest

    def forked(self) -> None:
        """Make the lock anew: this is a forked child."""
        self._lock = threading.Lock()


def _leaves_places(function: partial[Any]) -> bool:
    """Tell whether arguments of a call go between those of a partial."""
    return any(arg is _PLACEHOLDER for arg in function.args)


def _lasts(function: Any) -> bool:
    """Tell whether it is the same thing whenever it is called: it holds no state that the program changes."""
    if isinstance(function, FunctionType | type):
        return True
    if isinstance(function, BuiltinFunctionType):
        return function.__self__ is None or isinstance(function.__self__, ModuleType)
    return False
