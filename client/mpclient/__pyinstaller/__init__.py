"""What PyInstaller asks a package that it finds in a program: where its hooks are (`hook-mpclient.py`).

Source: PyInstaller's manual, "Providing PyInstaller Hooks with your Package".
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["get_hook_dirs"]


def get_hook_dirs() -> list[str]:
    """Return the folders with hooks."""
    return [str(Path(__file__).parent)]
