"""The driver."""

import pytest
from poolmgr_rack.rack import Rack, RackSettings

from poolmgr import PoolManager
from poolmgr.drivers.base import Driver
from poolmgr.errors import QuotaExceeded
from poolmgr.testing import DriverConformance

MACHINES = tuple(f"192.0.2.{number}" for number in range(1, 6))


class TestRack(DriverConformance):
    """The tests that every driver must pass, and specific ones."""

    @pytest.fixture
    def driver(self) -> Driver:
        """A rack of five machines."""
        return Rack(RackSettings(machines=MACHINES))

    def test_a_full_rack_raises_quota_exceeded(self, driver: Driver) -> None:
        """A returned machine makes room again."""
        with PoolManager(driver) as manager:
            built = [manager.execute("BUILD_DEVICE") for _ in MACHINES]
            with pytest.raises(QuotaExceeded, match="all 5 are taken"):
                manager.execute("BUILD_DEVICE")

            manager.execute("DELETE_DEVICE", name=built[0]["name"])
            again = manager.execute("BUILD_DEVICE")

        assert again["addr"] == built[0]["addr"]
