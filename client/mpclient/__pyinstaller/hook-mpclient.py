# noqa: N999 - PyInstaller looks for a file of this name
"""Names what a frozen program needs although it imports none of it: the server and workers that it starts."""

from PyInstaller.utils.hooks import collect_submodules  # type: ignore[import-untyped]

hiddenimports = [
    module for package in ("mpserve", "mpclient", "mpshared") for module in collect_submodules(package)
]
