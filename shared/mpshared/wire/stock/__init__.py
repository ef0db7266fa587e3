"""The standard library's protocol: `server.py` and `client.py` authenticate, `messages.py` goes on."""
