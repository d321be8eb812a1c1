"""Workers as processes, when the cloud is full or slow."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poolmgr.gearman import admin
from poolmgr.gearman.client import Client, SubmittedJob
from poolmgr.gearman.endpoint import Address
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.jobservers import gearmand
from tests.polling import until
from tests.processes import Process, worker

FUNCTION = "libra_pool_mgm"
TIMEOUT = 30.0
BUILD = b'{"action": "BUILD_DEVICE"}'
FULL = "circuit open: creating devices"


def response(answer: bytes) -> str:
    return str(json.loads(answer)["response"])


async def build(client: Client, number: int) -> list[SubmittedJob]:
    return [await client.submit(FUNCTION, BUILD) for _each in range(number)]


# -- a full cloud -----------------------------------------------------------


def test_a_worker_that_is_to_end_does_not_wait_for_room(
    tmp_path: Path,
) -> None:
    config = "[fake]\ndevice_quota = 2\n"

    async def scenario(address: Address, process: Process) -> list[str]:
        async with asyncio.timeout(TIMEOUT), Client([address]) as client:
            jobs = await build(client, 20)
            # Two have room, the others are here and wait.
            while (await admin.status(address))[0].running != 18:
                await asyncio.sleep(0.05)
            process.signal(signal.SIGTERM)
            return [response(await job.result(TIMEOUT)) for job in jobs]

    with gearmand() as server:
        with worker([str(server.address)], config, tmp_path) as process:
            process.wait_for("registered")
            responses = asyncio.run(scenario(server.address, process))
            assert process.exit_code() == 0

    assert sorted(responses) == ["FAIL"] * 18 + ["PASS"] * 2
    reasons = [line for line in process.lines if "outcome=FAIL" in line]
    assert all("quota" in line for line in reasons)


def test_a_full_cloud_is_logged_once_and_builds_by_others_go_first(
    tmp_path: Path,
) -> None:
    full = "[fake]\ndevice_quota = 0\n[worker]\nlong_jobs = 100\n"
    free = tmp_path / "free"
    free.mkdir()

    async def scenario(address: Address, process: Process) -> int:
        async with Client([address]) as client:
            await build(client, 1)
            await asyncio.to_thread(process.wait_for, FULL)
            with worker(
                [str(address)], "[worker]\nlong_jobs = 100\n", free
            ) as other:
                await asyncio.to_thread(other.wait_for, "registered")
                jobs = await build(client, 40)
                await asyncio.gather(
                    *[job.result(5.0) for job in jobs], return_exceptions=True
                )
                return sum(job.answer.done() for job in jobs)

    with gearmand() as server:
        with worker([str(server.address)], full, tmp_path) as process:
            process.wait_for("registered")
            answered = asyncio.run(scenario(server.address, process))

    # Without the peer delay each would take about half.  On a busy machine
    # the other may be slow to take one or two.
    assert answered >= 32
    assert "".join(process.lines).count(FULL) == 1


# -- a slow cloud -----------------------------------------------------------


@contextmanager
def nova_worker(
    cloud: LoopbackCloud, server: Address, folder: Path
) -> Iterator[Process]:
    """A worker on a loopback cloud."""
    credentials = "".join(f"{k} = {v}\n" for k, v in cloud.credentials.items())
    path = folder / "poolmgr.conf"
    path.write_text(
        "[poolmgr]\ndriver = nova\n"
        f"[gearman]\nservers = {server}\n"
        f"[nova]\n{credentials}image = tiny\nflavor = m1.nano\n"
        "networks = private\nfloating_network = public\n"
        # Few, so that a hundred builds are many.
        "calls_at_once = 8\n"
    )
    process = Process(["--config-file", str(path), "worker"])
    try:
        process.wait_for("registered")
        yield process
    finally:
        process.end()


def test_a_slow_cloud_keeps_no_short_job_waiting_for_builds(
    tmp_path: Path,
) -> None:
    async def scenario(cloud: LoopbackCloud, address: Address) -> None:
        async with Client([address]) as client:

            async def ask(action: str, **fields: object) -> dict[str, str]:
                message = json.dumps({"action": action, **fields}).encode()
                job = await client.submit(FUNCTION, message)
                answer = json.loads(await job.result(90.0))
                assert answer["response"] == "PASS"
                return dict(answer)

            device, ip = await ask("BUILD_DEVICE"), await ask("BUILD_IP")
            on = {"ip": ip["ip"], "name": device["name"]}
            # Six at a time, a hundred of them: two minutes and a half.
            cloud.fault(
                Fault(method="POST", path="/servers", hang=9.0, times=None)
            )
            builds = await build(client, 100)
            await asyncio.to_thread(
                until, lambda: cloud.count("POST", path="/servers") >= 7
            )
            await ask("ASSIGN_IP", **on)
            await ask("REMOVE_IP", **on)
            await ask("DELETE_DEVICE", name=device["name"])

            assert sum(job.answer.done() for job in builds) < 50

    with LoopbackCloud(latency=0.3) as cloud, gearmand() as server:
        with nova_worker(cloud, server.address, tmp_path):
            asyncio.run(scenario(cloud, server.address))
