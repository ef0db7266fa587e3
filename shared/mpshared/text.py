"""Text that comes from others, made safe to show.

A name or a message chosen by a peer may hold newlines, terminal escape sequences or characters that reverse
the reading direction. Whatever prints such text, in a log line, a table or an error, passes it through here
first.
"""

from __future__ import annotations

__all__ = ["printable", "shorten"]


def printable(text: str, *, keep: str = "") -> str:
    r"""Write every character that is not plainly visible as an escape: `\n`, `\x1b`, `\u202e`.

    Args:
        text: Any text, also one with lone surrogates (undecodable bytes of a file name or an environment
            variable).
        keep: Characters to leave as they are, e.g. "\n\t" for a traceback.

    Cost: one scan where nothing is to be escaped, which is nearly always.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escape(c) for c in text)


def shorten(text: str, limit: int = 200) -> str:
    """Make text printable and cut it to `limit` characters, the last of which then is an ellipsis."""
    shown = printable(text[: limit + 1])
    return shown if len(text) <= limit and len(shown) <= limit else shown[: limit - 1] + "…"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
