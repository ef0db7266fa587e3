"""For all tests: Hypothesis never fails one for the time it took; speed is the bench's matter."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("mpserve", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mpserve")
