"""How long after a device is there BUILD_DEVICE is answered, on any cloud.

    python benchmarks/answer_lag.py CONFIG_FILE [BUILDS]

So many devices are built at once, and deleted afterwards. Meanwhile somebody
else asks Nova four times a second; the lag of a build is from the first time
that he saw the server ACTIVE and with an address, to its answer.
"""

import concurrent.futures
import logging
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from poolmgr.waiting import Deadline

from poolmgr import PoolManager
from poolmgr.config.options import Configuration
from poolmgr.drivers.base import Driver
from poolmgr.jobs.manager import driver_plugins

INTERVAL = 0.25


@contextmanager
def watched(driver: Driver) -> Iterator[dict[str, float]]:
    """When each device was first seen ready, by name."""
    seen: dict[str, float] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(INTERVAL):
            for device in driver.list_devices(Deadline(60.0)):
                if device.ready:
                    seen.setdefault(device.name, time.monotonic())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def main() -> None:
    """Build, print, delete."""
    logging.disable()
    conf = Configuration([sys.argv[1]])
    builds = int(sys.argv[2]) if sys.argv[2:] else 10
    answered: dict[str, float] = {}
    mine, other = (conf.make_driver(driver_plugins()) for _twice in range(2))

    def build(_number: int) -> None:
        name = manager.execute("BUILD_DEVICE")["name"]
        answered[name] = time.monotonic()

    with PoolManager(mine, conf.pool()) as manager:
        with concurrent.futures.ThreadPoolExecutor(builds) as pool:
            with watched(other) as seen:
                list(pool.map(build, range(builds)))
                time.sleep(3 * INTERVAL)
            for name in answered:
                manager.execute("DELETE_DEVICE", name=name)
    lags = [answered[name] - seen[name] for name in answered]
    mine.close()
    other.close()
    print(
        f"{builds} builds at once: from ACTIVE to the answer "
        f"{statistics.median(lags):.2f} s at the median, "
        f"{min(lags):.2f} to {max(lags):.2f} s"
    )


if __name__ == "__main__":
    main()
