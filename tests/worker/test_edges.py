"""A worker at the edges of the protocol, and on hosts of odd names."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from poolmgr import AsyncPoolManager
from poolmgr.gearman import admin
from poolmgr.gearman.protocol import PacketType
from poolmgr.settings import WorkerSettings
from poolmgr.settings.gearman import GearmanSettings
from poolmgr.worker.service import Service
from tests.gearman.raw import RawPeer
from tests.gearman_workers import until
from tests.jobservers import JobServerProcess, gearmand
from tests.matrix.states import State
from tests.processes import worker

FUNCTION = b"libra_pool_mgm"
BUILD = b'{"action": "BUILD_DEVICE"}'


@pytest.mark.parametrize("size", [63, 64])
def test_a_unique_of_any_length_is_a_job_of_its_own(
    job_server: JobServerProcess, tmp_path: Path, size: int
) -> None:
    state = State(tmp_path)
    with worker(
        [str(job_server.address)], state.config(boot_time=0.5), tmp_path
    ) as process:
        process.wait_for("registered")
        with RawPeer(job_server.address) as client:
            for number in (b"1", b"2"):
                unique = number.rjust(size, b"u")
                client.send(PacketType.SUBMIT_JOB, FUNCTION, unique, BUILD)
            answers: list[bytes] = []
            while len(answers) < 2:
                packet = client.receive()
                if packet.type is PacketType.WORK_COMPLETE:
                    answers.append(packet.args[1])

    names = {json.loads(answer)["name"] for answer in answers}
    assert len(names) == 2
    assert names == {device.name for device in state.devices()}


@pytest.mark.parametrize("host", ["my host", "a\nb", "\udcff", "h" * 64])
def test_a_host_of_any_name_serves(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)

    async def scenario(server: JobServerProcess) -> None:
        async with AsyncPoolManager("fake") as manager:
            gearman = GearmanSettings(servers=(str(server.address),))
            service = Service(manager, gearman, WorkerSettings())
            serving = asyncio.create_task(service.run())
            await until(lambda: service.connections[0].state == "up")
            (named,) = [
                each
                for each in await admin.workers(server.address)
                if each.functions
            ]
            assert re.fullmatch(r"poolmgr-[\w.-]+-\d+", named.client_id)
            service.stop()
            await serving

    with gearmand() as server:
        asyncio.run(scenario(server))
