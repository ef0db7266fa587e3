"""Request → engine → effects → replies, for both protocols.

`transport` is what a connection looks like from here; `dispatcher` owns sessions' identities and passes calls
on; `own` speaks our protocol; `stock` speaks the standard library's.
"""
