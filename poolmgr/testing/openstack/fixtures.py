"""The loopback cloud for pytest."""

from collections.abc import Iterator

import pytest

from poolmgr.testing.openstack.cloud import LoopbackCloud


@pytest.fixture
def loopback_cloud(request: pytest.FixtureRequest) -> Iterator[LoopbackCloud]:
    """A loopback cloud for one test.

    Its settings can be given by ``@pytest.mark.parametrize("loopback_cloud",
    [{"boot_time": 0.5}], indirect=True)``.
    """
    with LoopbackCloud(**getattr(request, "param", {})) as cloud:
        yield cloud
