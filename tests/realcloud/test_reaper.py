"""Test of the reaper on the real OpenStack."""

import time

from poolmgr.drivers.nova.servers import Servers
from poolmgr.ownership import Job, Mark
from poolmgr.settings import PoolSettings
from tests.polling import until
from tests.realcloud.pools import TIMEOUT, Pool
from tests.reaping import BlockingReaper


def test_the_reaper_deletes_only_orphans(pool: Pool) -> None:
    mark = Mark.for_job(pool.name, Job("unique", "H:host:1"))
    owned_mark = Mark.for_job(
        pool.name, Job("other", "H:host:2")
    ).handed_over()
    with pool.manager(device_floating_ip=True) as manager:
        cloud = manager.cloud.within(TIMEOUT)
        names = [f"{pool.name}-{word}" for word in ("left", "boots", "owned")]
        for name in (names[0], names[2]):
            device = cloud.wait_ready(cloud.create_device(name, mark))
            if name == names[2]:
                cloud.mark_device(device, owned_mark)
        cloud.create_device(names[1], mark)
        ips = [
            cloud.create_ip(each)
            for each in (mark, mark.handed_over().withdrawn(), owned_mark)
        ]
        own_pool = PoolSettings(pool=pool.name, basename=pool.name)
        reaper = BlockingReaper(cloud, pool=own_pool, old=0.0, twice=True)

        # A resource created in this second is not old enough.
        time.sleep(1.1)
        reaper.find()
        verdicts = {
            case.item.name: case.verdict
            for case in reaper.remove(reaper.find())
        }

        assert verdicts == dict.fromkeys(
            [*names[:2], *(ip.address for ip in ips[:2])], "removed"
        )
        assert [device.name for device in pool.devices()] == names[2:]
        # One is the device's own address, the other was handed over.
        assert len(pool.ips()) == 2

        (owned,) = pool.devices()
        (own,) = (ip for ip in pool.ips() if ip.goes_with == owned.id)
        with pool.driver() as other:
            # A deletion without poolmgr leaves the address.
            Servers.delete_device(other, owned, timeout=TIMEOUT)
            until(lambda: not pool.devices(), TIMEOUT, pause=0.2)
        time.sleep(1.1)
        reaper.find()
        verdicts = {
            case.item.name: case.verdict
            for case in reaper.remove(reaper.find())
        }
        assert verdicts == {own.address: "removed"}
