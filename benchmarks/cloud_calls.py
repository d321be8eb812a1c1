"""How soon jobs are answered on OpenStack, and how many calls they cost.

    python benchmarks/cloud_calls.py [JOBS]

The cloud is the loopback one, in a process of its own, with 50 ms a call and
boots of 5 s. The floor of a build is what bare POSTs of as many servers at
once take there, and the boot. A second cloud, with boots of 15 s, shows what
urgent jobs meet while 200 builds wait.
"""

import concurrent.futures
import contextlib
import logging
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import openstack
import requests
from clouds import Cloud, cloud
from poolmgr.waiting import Deadline
from requests.adapters import HTTPAdapter

from poolmgr import PoolManager

LATENCY = 0.05
BOOT = 5.0
Fields = Mapping[str, str]


def floor(there: Cloud, jobs: int) -> float:
    """Seconds of so many bare POSTs at once, and a boot."""
    connection = openstack.connect(
        auth=dict(there.auth), load_yaml_config=False, load_envvars=False
    )
    network = connection.network.find_network("private")
    body = {
        "name": "bare",
        "imageRef": connection.image.find_image("tiny").id,
        "flavorRef": connection.compute.find_flavor("m1.nano").id,
        "networks": [{"uuid": network.id}],
    }
    url = f"{connection.compute.get_endpoint()}/servers"
    headers = {"X-Auth-Token": connection.session.get_token()}
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(pool_maxsize=jobs))

        def post(_number: int) -> None:
            session.post(
                url, json={"server": body}, headers=headers, timeout=60
            ).raise_for_status()

        took = timed(post, range(jobs))
    connection.close()
    return took + BOOT


def timed(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Do it with all items at once; seconds until the last is done."""
    with concurrent.futures.ThreadPoolExecutor(len(items)) as pool:
        started = time.perf_counter()
        list(pool.map(work, items))
        return time.perf_counter() - started


def passed(
    manager: PoolManager, action: str, fields: Fields
) -> dict[str, Any]:
    """Run a job that has to pass."""
    answer = manager.run({"action": action, **fields})
    assert answer["response"] == "PASS", answer
    return answer


def jobs_at_once(jobs: int) -> None:
    """Every action, so many at once: times and calls."""
    with cloud(boot_time=BOOT, latency=LATENCY) as there:
        least = floor(there, jobs)
        driver = there.driver()
        with contextlib.closing(driver), PoolManager(driver) as manager:
            driver.check(Deadline(30.0))  # as a worker does when it starts
            there.calls()
            built = one_kind(there, manager, "BUILD_DEVICE", [{}] * jobs)
            ips = one_kind(there, manager, "BUILD_IP", [{}] * jobs)
            pairs = [
                {"name": device["name"], "ip": ip["ip"]}
                for device, ip in zip(built.answers, ips.answers, strict=True)
            ]
            one_kind(there, manager, "ASSIGN_IP", pairs)
            one_kind(there, manager, "REMOVE_IP", pairs)
            names = [{"name": pair["name"]} for pair in pairs]
            one_kind(there, manager, "DELETE_DEVICE", names)
    print(
        f"floor of BUILD_DEVICE {least:.2f} s; all answered within "
        f"{built.seconds:.2f} s: {built.seconds / least:.2f}"
    )


@dataclass(frozen=True)
class Measured:
    """What jobs of one kind answered, and in how many seconds."""

    answers: Sequence[dict[str, Any]]
    seconds: float


def one_kind(
    there: Cloud, manager: PoolManager, action: str, jobs: Sequence[Fields]
) -> Measured:
    """Run jobs of one kind at once and print a row."""
    answers: list[dict[str, Any]] = []
    seconds = timed(
        lambda fields: answers.append(passed(manager, action, fields)), jobs
    )
    calls = there.calls()
    each = (calls["compute"] + calls["network"] + calls["image"]) / len(jobs)
    print(
        f"{action:<14}{len(jobs):>5} at once{seconds:>8.2f} s"
        f"{each:>8.2f} calls a job{calls['identity']:>4} of Keystone"
    )
    return Measured(answers, seconds)


def urgent_during_builds(builds: int, urgent: int) -> None:
    """ASSIGN_IP while builds wait, from the moment they come."""
    with cloud(boot_time=15.0, latency=LATENCY) as there:
        driver = there.driver()
        with contextlib.closing(driver), PoolManager(driver) as manager:
            target = str(passed(manager, "BUILD_DEVICE", {})["name"])
            address = passed(manager, "BUILD_IP", {})["ip"]
            fields = {"ip": address, "name": target}
            alone = [assign(manager, fields) for _ in range(urgent)]
            for _build in range(builds):
                manager.submit({"action": "BUILD_DEVICE"})
            during = [assign(manager, fields) for _ in range(urgent)]
            manager.stop()
    print(
        f"ASSIGN_IP alone {statistics.median(alone):.2f} s at the median; "
        f"while {builds} builds come and wait: "
        f"{statistics.median(during):.2f} s, at most {max(during):.2f} s"
    )


def assign(manager: PoolManager, fields: Fields) -> float:
    """Seconds that an ASSIGN_IP takes that has something to do."""
    started = time.perf_counter()
    passed(manager, "ASSIGN_IP", fields)
    took = time.perf_counter() - started
    passed(manager, "REMOVE_IP", fields)
    return took


def main() -> None:
    """Measure both and print."""
    logging.disable()
    jobs_at_once(int(sys.argv[1]) if sys.argv[1:] else 50)
    urgent_during_builds(200, 15)


if __name__ == "__main__":
    main()
