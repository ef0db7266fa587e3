"""`multiprocessing.util` is the standard library's own: its logger, finalizers, what runs after a fork.

The module itself takes this one's place, so whatever it has is found here.
"""

import multiprocessing.util
import sys

sys.modules[__name__] = multiprocessing.util
