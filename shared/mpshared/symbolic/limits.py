"""What a pickle may cost, and what is raised when it would cost more.

RULES
* Every limit is relative to what an honest pickler writes: its comment says why honest data stays below.
* A limit that is exceeded is an answer to the peer (`PickleTooComplex`), never a slow server.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT", "ForeignOrder", "Limits", "MalformedPickle", "PickleTooComplex"]


class MalformedPickle(ValueError):
    """The bytes are not a pickle that this server reads: broken, cut off, or of a kind it refuses."""


class PickleTooComplex(MalformedPickle):
    """The pickle is valid, and handling it could take more time or memory than its size explains."""


class ForeignOrder(TypeError):
    """Ordering was asked for objects whose order only their own code knows, and the server runs none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for one pickle.

    The size of a message in bytes is not among them: that is judged before its first byte is read.
    """

    key_nodes: int = 10_000
    """Size of one dict key or set member, everything shared in it written out: hashing walks that, not the
    size of the pickle. A tuple of two references to a tuple of two references and so on doubles per level."""

    key_depth: int = 64
    """Nesting of one key in its canonical form (`key`)."""

    hashing_per_byte: int = 16
    """Key nodes hashed while loading, for each byte of the pickle. A key takes at least a byte a node where
    it is first written; only the same large key in many dicts comes near."""

    collisions: int = 1000
    """Keys of one container that share a hash; each is compared with all before it. By chance there are few:
    -1 and -2 hash alike, which makes 8 of a kind in a grid of three coordinates."""

    steps_per_byte: int = 50
    """Comparisons for each byte of the pickles compared."""


DEFAULT = Limits()
