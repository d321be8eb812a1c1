"""COUNT_DEVICES."""

from poolmgr_rack.count import CountDevices

from poolmgr import PoolManager
from poolmgr.testing import ActionConformance


class TestCountDevices(ActionConformance):
    """What every action has to do, and what this one does."""

    action = CountDevices

    def test_all_devices_are_counted(self, manager: PoolManager) -> None:
        """Without a prefix."""
        manager.execute("BUILD_DEVICE")
        manager.execute("BUILD_DEVICE")

        assert manager.execute(self.NAME) == {"count": 2}

    def test_those_with_a_prefix_are_counted(
        self, manager: PoolManager
    ) -> None:
        """And no others."""
        built = manager.execute("BUILD_DEVICE")
        manager.execute("BUILD_DEVICE")

        found = manager.execute(self.NAME, prefix=built["name"])

        assert found == {"count": 1}
