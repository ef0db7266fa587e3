"""A short storm, with an exact account at its end."""

from __future__ import annotations

import pytest
from tests.chaos.storm import Storm

pytestmark = [pytest.mark.chaos, pytest.mark.hosts, pytest.mark.slow]


def test_a_short_storm(tmp_path):
    account = Storm(tmp_path, 1, lambda _text: None).run(8.0)
    assert not account.wrong, account.figures
