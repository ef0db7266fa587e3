"""Where modules are imported from: folders, and zip files of them, as in `sys.path`."""

from __future__ import annotations

from pathlib import Path
from zipimport import ZipImportError, zipimporter

__all__ = ["is_importable"]


def is_importable(place: str) -> bool:
    """Tell whether modules could be imported from a folder, a zip file, or a folder in one."""
    if Path(place).is_dir():
        return True
    try:
        zipimporter(place)
    except ZipImportError:
        return False
    return True
