"""Who may do what: a program's key says its role, the table of operations says which one is needed.

| key     | its holder may                                                                              |
|---------|---------------------------------------------------------------------------------------------|
| observe | ask for status, names of objects, who waits for whom; see no value, change nothing           |
| client  | use all objects, submit jobs, be a worker; delete what it made, and begin anew with fresh=True |
| admin   | do everything: delete what others made, empty queues, release locks, stop the server         |

RULES
* While there is no admin key, the client key is that of operators, too: one key for a small cluster.
* Who made an object is known while its session lives, and not after a restart of the server.
* fresh=True stays the clients' own: a program that died begins anew with what its last run has left. So these
  roles hold back mistakes; who may use an object may also take all that is in it.
* A refusal says what was asked, of which object, and which key is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mpshared.errors import NotAllowed
from mpshared.text import shorten

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.engines.base import Engine
    from mpshared.ops import Role

__all__ = ["needs", "why_not"]

_FROM: Final[dict[Role, str]] = {
    "observe": "--observe-key-file",
    "client": "--authkey-file",
    "admin": "--admin-key-file",
}
"""Options of `mpserve start`."""


def needs(role: Role, has: Role | None, what: str) -> NotAllowed:
    """Return the refusal of `what` to who has another key."""
    text = (
        f"{what} needs the {role} key, and this program has the {has or 'client'} key; give it "
        f"(--authkey-file, MPSERVE_AUTHKEY_FILE) the one that the server has from {_FROM[role]}"
    )
    return NotAllowed(text, needs=role)


def why_not(call: Call, engine: Engine, *, admins: bool) -> NotAllowed | None:
    """Return why a call is refused to who asks, None where it is not.

    Args:
        call: One that `Lane.rank` does not let through.
        engine: Knows the objects.
        admins: There is an admin key.
    """
    access, role = call.session.access, call.op.role
    if access == "admin" or (access == "client" and role == "admin" and not admins):
        return None
    if access == "client" and (role != "admin" or _is_own(call, engine)):
        return None
    if access == "observe" and role == "admin" and not admins:
        role = "client"
    return needs(role, access, _spell(call, engine))


def _is_own(call: Call, engine: Engine) -> bool:
    """Tell whether a program deletes what it made itself, or what there is not."""
    if call.op.name != "cluster.delete":
        return False
    match call.args:
        case [str(name), (str() | None) as kind]:
            return engine.maker_of(name, kind) in {None, call.session.id}
    return True  # the engine says what is wrong with it


def _spell(call: Call, engine: Engine) -> str:
    """Return what was asked, and of which object."""
    op = call.op
    if call.target:
        return f"{op.name} of {shorten(engine.label_of(call.target))}"
    match op.method, call.args:
        case "open", [str(kind), str(name), *_]:
            return f"{op.name} of {shorten(kind, 40)} {shorten(name)!r}"
        case "open", [str(kind), *_]:
            return f"{op.name} of a {shorten(kind, 40)}"
        case (("delete" | "release"), [str(name), *_]):
            return f"{op.name} of {shorten(name)!r}"
    return op.name
