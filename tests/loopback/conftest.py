"""Fixtures of the loopback cloud's tests."""

from collections.abc import Iterator

import pytest

from poolmgr.testing.openstack import LoopbackCloud, loopback_cloud
from tests.loopback.caller import Caller

__all__ = ["loopback_cloud"]


@pytest.fixture
def cloud(request: pytest.FixtureRequest) -> Iterator[LoopbackCloud]:
    """Run a loopback cloud with the settings of ``@pytest.mark.cloud``."""
    marker = request.node.get_closest_marker("cloud")
    with LoopbackCloud(**(marker.kwargs if marker else {})) as cloud:
        yield cloud


@pytest.fixture
def caller(cloud: LoopbackCloud) -> Caller:
    """Return a caller of the loopback cloud."""
    return Caller(cloud)
