"""What the tests of the Nova driver share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.nova.pools import Pool, Pools


@pytest.fixture
def pools() -> Iterator[Pools]:
    """Makes pools, each a manager and the driver on a loopback cloud."""
    with ExitStack() as stack:
        yield Pools(stack)


@pytest.fixture
def pool(pools: Pools) -> Pool:
    """A pool on a cloud that is quick and well."""
    return pools.new()
