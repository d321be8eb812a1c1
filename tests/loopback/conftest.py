"""What the tests of the loopback cloud share."""

from collections.abc import Iterator

import pytest

from poolmgr.testing.openstack import LoopbackCloud, loopback_cloud
from tests.loopback.caller import Caller

__all__ = ["loopback_cloud"]


@pytest.fixture
def cloud(request: pytest.FixtureRequest) -> Iterator[LoopbackCloud]:
    """A loopback cloud; ``@pytest.mark.cloud(...)`` gives its settings."""
    marker = request.node.get_closest_marker("cloud")
    with LoopbackCloud(**(marker.kwargs if marker else {})) as cloud:
        yield cloud


@pytest.fixture
def caller(cloud: LoopbackCloud) -> Caller:
    """Who calls it."""
    return Caller(cloud)
