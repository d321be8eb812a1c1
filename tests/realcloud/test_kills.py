"""Workers that are killed lose nothing on the real OpenStack either."""

import asyncio
import json
import random
import signal
from contextlib import ExitStack

from poolmgr.gearman import Client
from tests.chaos.field import FUNCTION
from tests.jobservers import gearmand
from tests.processes import Process
from tests.realcloud.pools import Pool

BUILDS, ADDRESSES, KILLS = 8, 4, 6


def test_each_answered_job_has_one_thing(pool: Pool) -> None:
    chance = random.Random(7)
    with gearmand() as server, ExitStack() as stack:
        workers: list[Process] = []

        def start() -> None:
            process = stack.enter_context(pool.worker(server.address))
            process.wait_for("registered")
            workers.append(process)

        def kill_one() -> None:
            victim = workers.pop(chance.randrange(len(workers)))
            victim.signal(signal.SIGKILL)
            victim.exit_code()
            start()

        async def scenario() -> list[dict[str, str]]:
            async with Client([server.address]) as client:
                actions = ["BUILD_DEVICE"] * BUILDS + ["BUILD_IP"] * ADDRESSES
                chance.shuffle(actions)
                jobs = [
                    await client.submit(
                        FUNCTION, json.dumps({"action": action}).encode()
                    )
                    for action in actions
                ]
                for _kill in range(KILLS):
                    await asyncio.sleep(chance.uniform(0.2, 2.0))
                    await asyncio.to_thread(kill_one)
                return [json.loads(await job.result(110.0)) for job in jobs]

        for _each in range(2):
            start()
        answers = asyncio.run(scenario())

    assert {answer["response"] for answer in answers} == {"PASS"}
    names = {a["name"] for a in answers if a["action"] == "BUILD_DEVICE"}
    addresses = {a["ip"] for a in answers if a["action"] == "BUILD_IP"}
    assert (len(names), len(addresses)) == (BUILDS, ADDRESSES)
    left = [d for d in pool.devices() if d.mark and d.mark.is_left]
    left_ips = [ip for ip in pool.ips() if ip.mark and ip.mark.is_left]
    assert {d.name for d in pool.devices()} - {d.name for d in left} == names
    assert {i.address for i in pool.ips()} - {
        i.address for i in left_ips
    } == addresses
