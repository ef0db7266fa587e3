"""What opens references in pickles, in a fork."""

from __future__ import annotations

import os

from mpclient import resolve


def test_a_fork_opens_what_its_parent_was_just_opening():
    with resolve._opening:
        child = os.fork()
        if not child:
            os._exit(not resolve._opening.acquire(timeout=5))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
