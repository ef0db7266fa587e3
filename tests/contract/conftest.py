"""The contract suite runs on every engine, bare and behind our protocol."""

import pytest
from tests.contract.rigs import RIGS, make_rig


@pytest.fixture(params=RIGS)
def rig(request):
    engine, wired = RIGS[request.param]
    rig = make_rig(engine, wired=wired, seed=len(request.node.name))
    yield rig
    rig.finish()
