"""What a pickle may cost, and what is raised when it would cost more.

RULES
* A limit is relative to what an honest pickler writes: its comment says why honest data stays below. Only
  `objects` is absolute.
* A limit that is exceeded is an answer to the peer (`PickleTooComplex`), never a slow server.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT", "LARGE", "ForeignOrder", "Limits", "MalformedPickle", "PickleTooComplex"]


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

    objects: int = 150_000
    """Opcodes run one by one: up to 225 bytes and 1 µs each. In a row of short texts and numbers a text costs
    half as much, a number an eighth; the content of what is long costs nothing. So this is one value of
    1,200,000 numbers, 300,000 short texts, 75,000 long ones, or some 10,000 objects of classes."""

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
"""For what is opened between two calls of others: 0.1 s."""
LARGE = Limits(objects=400_000)
"""For what is opened beside everything else: 250 MB."""
