"""The standard library's protocol: `server.py` authenticates, `messages.py` goes on."""
