"""What the tests of the Nova driver share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.nova.pools import Pool, Pools


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pools]:
    """Makes pools, each a manager and the driver on a loopback cloud."""
    # Real ones look less often than tests can wait.
    monkeypatch.setattr("poolmgr.drivers.nova.driver._INTERVAL", 0.05)
    monkeypatch.setattr("poolmgr.drivers.nova.driver._DELETE_AGAIN", 0.3)
    monkeypatch.setattr("poolmgr.drivers.nova.driver._OUT_OF_SIGHT", 0.5)
    monkeypatch.setattr("poolmgr.drivers.nova.floating_ips._LOOKS", 1.0)
    monkeypatch.setattr("poolmgr.actions.build_ip._SEEN_LATE", 1.0)
    with ExitStack() as stack:
        yield Pools(stack)


@pytest.fixture
def pool(pools: Pools) -> Pool:
    """A pool on a cloud that is quick and well."""
    return pools.new()
