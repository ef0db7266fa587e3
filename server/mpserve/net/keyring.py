"""The keys that let in, and whose role each of them has.

    current --reload, the file holds another--> of before --after the overlap--> accepted no more

RULES
* Each role has one key, and no two roles have the same one: a key says who comes.
* A reload takes all new keys or none: where one cannot be used, those of before go on.
* A key of before lets in for as long as it was promised when it was replaced. Who is connected stays so.
* Keys are never printed or logged; where they are is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from mpshared.keys import Key, KeyProblem, read_key_file
from mpshared.ops import Role

__all__ = ["Keyring"]


@dataclass(frozen=True, slots=True)
class _Old:
    """A key of before."""

    role: Role
    secret: bytes = field(repr=False)
    until_s: float


class Keyring:
    """See the file's beginning.

    Args:
        keys: One key for each role that there is.
        overlap_s: How long a key lets in after it was replaced.
        clock: Monotonic seconds.

    Raises:
        KeyProblem: Two roles have the same key.
    """

    def __init__(
        self, keys: Mapping[Role, Key], overlap_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = dict(keys)
        self._overlap_s = overlap_s
        self._clock = clock
        self._old: list[_Old] = []
        _check_different(self._keys, ())

    @classmethod
    def of(cls, authkey: bytes) -> Keyring:
        """Return the keyring of a server with the clients' key only."""
        return cls({"client": Key(authkey, "its argument")})

    def has(self, role: Role) -> bool:
        """Tell whether there is a key for that role."""
        return role in self._keys

    def get(self, role: Role) -> Key:
        """Return the key of a role that has one."""
        return self._keys[role]

    def accepted(self) -> Sequence[tuple[Role, bytes]]:
        """Return the keys that let in now."""
        now = [(role, key.secret) for role, key in self._keys.items()]
        return now + [(old.role, old.secret) for old in self._living()] if self._old else now

    def _living(self) -> list[_Old]:
        now_s = self._clock()
        self._old = [old for old in self._old if old.until_s > now_s]
        return self._old

    def reload(self) -> dict[str, str]:
        """Read the files again; return what the log says of it.

        Raises:
            KeyProblem: One cannot be used; nothing has changed.
        """
        fresh = {
            role: key if key.file is None else read_key_file(key.file) for role, key in self._keys.items()
        }
        changed = [role for role, key in fresh.items() if key.secret != self._keys[role].secret]
        until_s = self._clock() + self._overlap_s
        replaced = [_Old(role, self._keys[role].secret, until_s) for role in changed]
        # One that comes back is no key of before any more.
        old = [each for each in self._living() if fresh[each.role].secret != each.secret]
        if self._overlap_s > 0:
            old += replaced
        _check_different(fresh, old)
        self._keys, self._old = fresh, old
        return self._told(changed)

    def _told(self, changed: Sequence[Role]) -> dict[str, str]:
        told = {"changed": ", ".join(changed) or "none"}
        if changed:
            told["before"] = f"accepted for {self._overlap_s:g} s more" if self._overlap_s > 0 else "refused"
        fixed = [f"{role} ({key.source})" for role, key in self._keys.items() if key.file is None]
        if fixed:
            told["not_in_a_file"] = ", ".join(fixed)
        return told


def _check_different(keys: Mapping[Role, Key], old: Sequence[_Old]) -> None:
    for (one, first), (other, second) in combinations(keys.items(), 2):
        if first.secret == second.secret:
            raise KeyProblem(
                f"{first.source} and {second.source} hold the same key, for the roles {one} and {other}: a "
                "key says who comes, so make another one for each"
            )
    for role, key in keys.items():
        if any(key.secret == each.secret and role != each.role for each in old):
            raise KeyProblem(
                f"{key.source} holds a key that still lets in with another role than {role}; make a new one, "
                "or wait until --key-overlap is over"
            )
