"""Fixtures of the tests of the Nova driver."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from poolmgr.testing.openstack import LoopbackCloud
from tests.nova.config_folders import ConfigFolder
from tests.nova.pools import Pool, Pools


@pytest.fixture
def cloud() -> Iterator[LoopbackCloud]:
    """Yield a cloud without faults."""
    with LoopbackCloud() as cloud:
        yield cloud


@pytest.fixture
def folder(tmp_path: Path, cloud: LoopbackCloud) -> ConfigFolder:
    """Return a folder with the credentials of the cloud."""
    return ConfigFolder(tmp_path, cloud)


@pytest.fixture
def pools() -> Iterator[Pools]:
    """Create pools, each with its pool manager and Nova driver."""
    with ExitStack() as stack:
        yield Pools(stack)


@pytest.fixture
def pool(pools: Pools) -> Pool:
    """Return a pool on a cloud without faults."""
    return pools.new()
