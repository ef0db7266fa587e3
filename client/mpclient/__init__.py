"""The client: the names of `multiprocessing`, bound to a cluster."""
