"""The language that server, client and worker all speak: no sockets, no clock, no threads."""

__version__ = "0.1.0"
