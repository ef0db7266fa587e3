"""The sections of the report, in its order; each file has its rows, how one is measured, and its table."""
