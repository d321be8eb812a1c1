"""Tests of workers on a real OpenStack with a real gearmand."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.jobservers import JobServerProcess, gearmand
from tests.polling import until
from tests.realcloud.conftest import RealCloud
from tests.realcloud.pools import TIMEOUT, Pool


@pytest.fixture
def job_server() -> Iterator[JobServerProcess]:
    with gearmand() as server:
        yield server


def test_every_action_works_through_a_worker(
    pool: Pool, job_server: JobServerProcess
) -> None:
    def ask(action: str, **fields: object) -> dict[str, object]:
        message = {"action": action, "extra": [1], **fields}
        answer = pool.submit(job_server.address, message)
        assert answer["response"] == "PASS", answer
        assert answer["extra"] == [1]
        return answer

    with pool.worker(job_server.address):
        name = ask("BUILD_DEVICE")["name"]
        ip = ask("BUILD_IP")["ip"]
        ask("ASSIGN_IP", ip=ip, name=name)
        ask("REMOVE_IP", ip=ip, name=name)
        ask("ASSIGN_IP", ip=ip, name=name)
        ask("DELETE_IP", ip=ip)
        ask("DELETE_DEVICE", name=name)

    assert pool.devices() == []
    assert pool.ips() == []


def test_two_workers_share_the_jobs(
    pool: Pool, job_server: JobServerProcess
) -> None:
    with (
        pool.worker(job_server.address) as first,
        pool.worker(job_server.address) as second,
        ThreadPoolExecutor(10) as clients,
    ):
        answers = list(
            clients.map(
                lambda _number: pool.submit(
                    job_server.address, {"action": "BUILD_DEVICE"}
                ),
                range(10),
            )
        )

    assert [answer["response"] for answer in answers] == ["PASS"] * 10
    names = {answer["name"] for answer in answers}
    assert {device.name for device in pool.devices()} == names
    done = "".join(first.lines + second.lines).count("outcome=PASS")
    assert done == 10


def test_another_worker_finishes_the_job_of_a_killed_one(
    real_cloud: RealCloud, pool: Pool, job_server: JobServerProcess
) -> None:
    real_cloud.set_knob("boot_delay", 20)
    with (
        pool.worker(job_server.address) as killed,
        ThreadPoolExecutor(1) as client,
    ):
        answer = client.submit(
            pool.submit, job_server.address, {"action": "BUILD_DEVICE"}
        )
        until(pool.devices, TIMEOUT, pause=0.2)
        (created,) = pool.devices()
        with pool.worker(job_server.address) as other:
            killed.signal(signal.SIGKILL)

            assert answer.result(TIMEOUT)["name"] == created.name
            other.wait_for("taking over")

    (device,) = pool.devices()
    assert device.id == created.id
    assert device.mark is not None
    assert device.mark.state == "handed over"
