"""`multiprocessing.dummy` is the standard library's own: threads that have the names of processes.

The module itself takes this one's place, so whatever it has is found here.
"""

import multiprocessing.dummy
import sys

sys.modules[__name__] = multiprocessing.dummy
