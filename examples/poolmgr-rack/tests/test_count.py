"""COUNT_DEVICES."""

from poolmgr_rack.count import CountDevices

from poolmgr import PoolManager
from poolmgr.testing import ActionConformance


class TestCountDevices(ActionConformance):
    """The tests that every action must pass, and specific ones."""

    action = CountDevices

    def test_all_devices_are_counted(self, manager: PoolManager) -> None:
        """A request without a prefix counts all."""
        manager.execute("BUILD_DEVICE")
        manager.execute("BUILD_DEVICE")

        assert manager.execute(self.NAME) == {"count": 2}

    def test_devices_with_a_prefix_are_counted(
        self, manager: PoolManager
    ) -> None:
        """A request with a prefix counts only matching devices."""
        built = manager.execute("BUILD_DEVICE")
        manager.execute("BUILD_DEVICE")

        found = manager.execute(self.NAME, prefix=built["name"])

        assert found == {"count": 1}
