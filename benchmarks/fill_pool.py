"""How long filling a pool takes, beside the least the same cloud allows.

    python benchmarks/fill_pool.py [DEVICES,DEVICES,...] [ROUNDS]

A real worker at a real gearmand, and the loopback cloud, each a process: 50
ms a call, boots of 5 to 60 s. So many BUILD_DEVICE come at once; the time is
that of the last answer. The least is what bare POSTs take with as many
connections on another such cloud, whose servers boot for as long, each in its
turn: until the last has booted, and one call more, that writes the mark.
Where the rate of calls is limited, the POSTs keep to it, too, and two calls a
device are the least that there can be.
"""

import asyncio
import concurrent.futures
import json
import os
import random
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import openstack
import requests
from clouds import MADE_OF, Cloud, cloud, worker
from load import registered
from poolmgr.waiting import Deadline
from pulse import undisturbed
from requests.adapters import HTTPAdapter
from servers import Gearmand

from poolmgr.cloud.limiter import Gate
from poolmgr.drivers.nova import NovaSettings
from poolmgr.gearman import Client
from poolmgr.settings import WorkerSettings

FUNCTION = WorkerSettings().function
LATENCY = 0.05
BOOT, SPREAD = 32.5, 27.5
#: Calls a second, where they are limited.
RATE = 20.0
CALLS_A_DEVICE = 2


@dataclass(frozen=True)
class Case:
    """How big the pool is, and what limits the calls.

    :ivar rate: that the cloud allows, a second; 0 for any
    :ivar told: whether poolmgr knows of it
    """

    devices: int
    rate: float
    told: bool

    def __str__(self) -> str:
        limit = "no limit"
        if self.rate:
            limit = f"{self.rate:.0f}/s, {'told' if self.told else 'untold'}"
        return f"{self.devices:>5} devices, {limit}"


@dataclass(frozen=True)
class Seen:
    """One measurement.

    :ivar least: seconds that the cloud allows
    :ivar took: seconds until the last answer
    :ivar calls: of the cloud, a device
    """

    least: float
    took: float
    calls: float


def clouds_like(case: Case, seed: int) -> dict[str, Any]:
    """The options of its cloud."""
    options: dict[str, Any] = {
        "latency": LATENCY,
        "boot_time": BOOT,
        "boot_spread": SPREAD,
        "boot_seed": seed,
    }
    return options | ({"rate_limit": case.rate} if case.rate else {})


def least(case: Case, seed: int) -> float:
    """Seconds that filling the pool takes at the least."""
    with cloud(**clouds_like(case, seed)) as there:
        started = posts(there, case)
        record = there.record()
    taken = [
        call["when"] + LATENCY
        for call in record
        if (call["method"], call["path"]) == ("POST", "/servers")
        and call["status"] == 202
    ]
    assert len(taken) == case.devices
    chance = random.Random(seed)
    boots = (BOOT + chance.uniform(-SPREAD, SPREAD) for _each in taken)
    ready = max(map(sum, zip(sorted(taken), boots, strict=True)))
    booted = ready - started + LATENCY
    if not case.rate:
        return booted
    # As many as a second allows may come at once in the beginning.
    calls = CALLS_A_DEVICE * case.devices - case.rate
    return max(booted, calls / case.rate)


def posts(there: Cloud, case: Case) -> float:
    """Make the servers by bare POSTs; when it began, monotonic."""
    at_once = NovaSettings(**there.auth).calls_at_once
    # A quarter of the driver's is kept for short jobs.
    at_once -= at_once // 4
    gate = Gate(2 * at_once, case.rate)
    with (
        openstack.connect(
            auth=dict(there.auth), load_yaml_config=False, load_envvars=False
        ) as connection,
        requests.Session() as session,
    ):
        network = connection.network.find_network(MADE_OF["networks"][0])
        body = {
            "name": "bare",
            "imageRef": connection.image.find_image(MADE_OF["image"]).id,
            "flavorRef": connection.compute.find_flavor(MADE_OF["flavor"]).id,
            "networks": [{"uuid": network.id}],
        }
        url = f"{connection.compute.get_endpoint()}/servers"
        headers = {"X-Auth-Token": connection.session.get_token()}
        session.mount("http://", HTTPAdapter(pool_maxsize=at_once))
        time.sleep(1.0)  # the limit forgets what was asked until now

        def post(_number: int) -> None:
            while True:
                with gate.passing(Deadline(600.0), "POST"):
                    answer = session.post(
                        url, json={"server": body}, headers=headers
                    )
                if answer.status_code != 429:
                    answer.raise_for_status()
                    return

        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            started = time.monotonic()
            list(pool.map(post, range(case.devices)))
    return started


async def took(case: Case, seed: int) -> tuple[float, float]:
    """Seconds until the last build is answered; calls a device."""
    options = {"nova__calls_per_second": case.rate} if case.told else {}
    with ExitStack() as stack:
        there = stack.enter_context(cloud(**clouds_like(case, seed)))
        async with Gearmand() as server:
            stack.enter_context(worker(server.address, there, **options))
            await registered(server.address, FUNCTION)
            await asyncio.sleep(2.0)  # a check when it starts costs calls
            before = there.counts().total()
            async with Client([server.address]) as client:
                started = time.monotonic()
                jobs = [
                    await client.submit(
                        FUNCTION, b'{"action": "BUILD_DEVICE"}'
                    )
                    for _device in range(case.devices)
                ]
                for job in jobs:
                    answer = json.loads(await job.result(900.0))
                    assert answer["response"] == "PASS", answer
                seconds = time.monotonic() - started
            calls = there.counts().total() - before
    return seconds, calls / case.devices


def measure(case: Case, seed: int) -> Seen:
    """Both, one after the other."""
    floor = least(case, seed)
    return Seen(floor, *asyncio.run(took(case, seed)))


def show(found: dict[Case, list[Seen]]) -> None:
    """Print the medians of the rounds."""
    print(
        f"{'':<30}{'least s':>9}{'took s':>9}{'ratio':>8}"
        f"{'calls a device':>16}"
    )
    for case, rounds in found.items():
        floor, seconds, ratio, calls = (
            statistics.median(each)
            for each in zip(
                *(
                    (r.least, r.took, r.took / r.least, r.calls)
                    for r in rounds
                ),
                strict=True,
            )
        )
        print(
            f"{case!s:<30}{floor:>9.2f}{seconds:>9.2f}{ratio:>8.3f}"
            f"{calls:>16.2f}"
        )
    print(f"load {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Measure in turn and print."""
    given = dict(enumerate(sys.argv[1:]))
    sizes = [int(size) for size in given.get(0, "50,500").split(",")]
    found: dict[Case, list[Seen]] = {
        Case(size, rate, told): []
        for size in sizes
        for rate, told in ((0.0, False), (RATE, True), (RATE, False))
    }
    for seed in range(int(given.get(1, "3"))):
        for case, rounds in found.items():
            rounds.append(undisturbed(partial(measure, case, seed)))
    show(found)


if __name__ == "__main__":
    main()
