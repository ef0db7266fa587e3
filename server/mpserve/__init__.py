"""The server: one event loop that holds every shared object as data.

Its rooms are `cli` > `manager` > `server` > `net` > `dispatch` > `engines` > `core`: each imports what is to
its right. How a call goes through them, and in which order to read them: `docs/explanation/internals.md`.
"""

from mpshared import __version__ as __version__
