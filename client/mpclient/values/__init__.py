"""Users' objects to bytes and back.

`pickling` has the general way, and dict keys; `partials` has the jobs of the recipe, `rows` many plain values
at once, and `jobs_format` the jobs of Pools and executors, and their outcomes. `newer` has what only newer
Pythons have: lazy imports, and sentinels.
"""
