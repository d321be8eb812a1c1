"""Fixtures of the tests of the Nova driver."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.nova.pools import Pool, Pools


@pytest.fixture
def pools() -> Iterator[Pools]:
    """Create pools, each with its pool manager and Nova driver."""
    with ExitStack() as stack:
        yield Pools(stack)


@pytest.fixture
def pool(pools: Pools) -> Pool:
    """Return a pool on a cloud without faults."""
    return pools.new()
