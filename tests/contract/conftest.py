"""The contract suite runs on every engine, bare and behind our protocol."""

import pytest
from tests.contract.direct_rig import DirectRig
from tests.contract.wired_rig import WiredRig

RIGS = {
    f"{engine}{suffix}": (make, engine)
    for engine in ("memory", "later")
    for suffix, make in (("", DirectRig), ("-own", WiredRig))
}


@pytest.fixture(params=RIGS)
def rig(request):
    make, engine = RIGS[request.param]
    rig = make(engine, seed=len(request.node.name))
    yield rig
    rig.finish()
