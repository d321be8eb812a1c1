"""The driver passes the conformance suite on a real OpenStack."""

from collections.abc import Iterator

import pytest

from poolmgr.drivers.base import Driver
from poolmgr.testing import DriverConformance
from tests.realcloud.pools import Pool


class TestNova(DriverConformance):
    @pytest.fixture
    def driver(self, pool: Pool) -> Iterator[Driver]:
        with pool.driver() as driver:
            yield driver
