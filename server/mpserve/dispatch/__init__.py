"""Request → engine → effects → replies, for both protocols.

`transport` is what a connection looks like from here; `dispatcher` owns sessions' identities and passes calls
on, `outputs` what workers print. `own` speaks our protocol: `introduction` reads what a client says of
itself, `admission` and `roles` say what it may. `stock` speaks the standard library's: `stock_forms`,
`stock_cut` and `stock_errors` take its messages apart and make them, `faces` has its objects, `registered`
the operator's own, and `judging` what those may be given. `beside` does what takes long.
"""
