"""Tests of workers on a cloud that is full or slow."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poolmgr.gearman.endpoint import Address
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.batches import BUILD, BUILD_IP, Answer, ask, batch, running
from tests.clouds import nova_group
from tests.jobservers import gearmand
from tests.logs import passed
from tests.polling import until
from tests.processes import Process, worker
from tests.worker.peer_delay import long_peer_delay

CIRCUIT_OPEN = "circuit open: creating devices"


# -- a full cloud -----------------------------------------------------------


def test_a_draining_worker_does_not_wait_for_quota(tmp_path: Path) -> None:
    config = "[fake]\ndevice_quota = 2\n"
    with gearmand() as server:
        with worker([str(server.address)], config, tmp_path) as process:
            process.wait_for("registered")
            with batch(server.address, [BUILD] * 20) as builds:
                # Two have passed; the others wait for quota.
                until(lambda: running(server.address) == 18)
                process.signal(signal.SIGTERM)
                answers = builds.answers()
            assert process.exit_code() == 0

    responses = sorted(answer["response"] for answer in answers)
    assert responses == ["FAIL"] * 18 + ["PASS"] * 2
    fails = [line for line in process.lines if "outcome=FAIL" in line]
    assert all("quota" in line for line in fails)


def test_builds_go_to_the_worker_whose_cloud_has_room(tmp_path: Path) -> None:
    full = "[fake]\ndevice_quota = 0\n[worker]\nlong_jobs = 100\n"
    free = "[worker]\nlong_jobs = 100\n"
    folder = tmp_path / "free"
    folder.mkdir()
    with (
        gearmand() as server,
        worker(
            [str(server.address)], full, tmp_path, **long_peer_delay(tmp_path)
        ) as process,
    ):
        process.wait_for("registered")
        with batch(server.address, [BUILD]):
            process.wait_for(CIRCUIT_OPEN)
            with worker([str(server.address)], free, folder) as other:
                other.wait_for("registered")
                with batch(server.address, [BUILD] * 40):
                    # If the full worker did not leave builds to others, each
                    # would take about half. It may get a few, if all take
                    # longer than its delay.
                    until(lambda: len(passed(other)) >= 32)

    assert "".join(process.lines).count(CIRCUIT_OPEN) == 1


# -- a slow cloud -----------------------------------------------------------


@contextmanager
def nova_worker(
    cloud: LoopbackCloud, server: Address, folder: Path
) -> Iterator[Process]:
    """Run a worker that makes at most eight calls to the cloud at once."""
    config = folder / "poolmgr.conf"
    config.write_text(
        f"[gearman]\nservers = {server}\n"
        f"{nova_group('loopback', calls_at_once=8)}"
    )
    clouds = cloud.write_clouds_yaml(folder / "clouds.yaml")
    process = Process(
        ["--config-file", str(config), "worker"],
        OS_CLIENT_CONFIG_FILE=str(clouds),
    )
    try:
        process.wait_for("registered")
        yield process
    finally:
        process.end()


def test_short_jobs_do_not_wait_for_builds_on_a_slow_cloud(
    tmp_path: Path,
) -> None:
    with (
        LoopbackCloud(latency=0.3) as cloud,
        gearmand() as server,
        nova_worker(cloud, server.address, tmp_path) as process,
    ):

        def passes(message: object) -> Answer:
            answer = ask(server.address, message)
            assert answer["response"] == "PASS"
            return answer

        device, ip = passes(BUILD), passes(BUILD_IP)
        placed = {"ip": ip["ip"], "name": device["name"]}
        # A hundred builds, of which six run at once, take 150 seconds.
        cloud.fault(
            Fault(method="POST", path="/servers", hang=9.0, times=None)
        )
        with batch(server.address, [BUILD] * 100):
            until(lambda: cloud.count("POST", path="/servers") >= 7)
            passes({"action": "ASSIGN_IP", **placed})
            passes({"action": "REMOVE_IP", **placed})
            passes({"action": "DELETE_DEVICE", "name": device["name"]})

            short_and_first_build = 5
            assert len(passed(process)) - short_and_first_build < 50
