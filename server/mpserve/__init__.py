"""The server: one event loop that holds every shared object as data."""

from mpshared import __version__ as __version__
