"""Tests of answers that are lost on their way to the client."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from poolmgr.errors import TransportError
from poolmgr.testing.openstack import Call, Fault, LoopbackCloud
from tests.batches import BUILD, BUILD_IP, ask, batch
from tests.clouds import nova_group
from tests.jobservers import gearmand
from tests.polling import until
from tests.processes import TIMEOUT, Process, worker
from tests.relays import WORK_COMPLETE, Filter, relay
from tests.states import State

each_build = pytest.mark.parametrize("message", [BUILD, BUILD_IP])


def at_first_answer(interfere: Callable[[], None]) -> Filter:
    """Return a relay filter that replaces the first answer.

    :param interfere: called at the first answer, which is then lost together
        with its connection
    """
    seen: list[bytes] = []

    def pass_on(data: bytes) -> bytes | None:
        if WORK_COMPLETE in data and not seen:
            seen.append(data)
            interfere()
            return None
        return data

    return pass_on


@each_build
def test_an_answer_lost_with_the_connection_is_repeated_on_redelivery(
    tmp_path: Path, message: dict[str, str]
) -> None:
    state = State(tmp_path)
    lose = at_first_answer(lambda: None)
    with gearmand() as server, relay(server.address, lose) as between:
        address = str(between.address)
        with worker([address], state.config(), tmp_path) as process:
            answer = ask(server.address, message)
            process.wait_for("connection lost just after its answer was sent")
            process.wait_for("outcome=PASS")

    assert answer["response"] == "PASS"
    (mark,) = state.marks()
    assert (mark.state, mark.taken) == ("handed over", 1)


@each_build
def test_an_answer_lost_with_the_job_server_leaves_an_unconfirmed_mark(
    tmp_path: Path, message: dict[str, str]
) -> None:
    state = State(tmp_path)
    with gearmand() as server:
        lose = at_first_answer(server.kill)
        with relay(server.address, lose) as between:
            address = str(between.address)
            with worker([address], state.config(), tmp_path) as process:
                with pytest.raises(TransportError):
                    ask(server.address, message)
                process.wait_for("just after its answer was sent")
                until(
                    lambda: [m.state for m in state.marks()] != ["handed over"]
                )

    assert [mark.state for mark in state.marks()] == ["unconfirmed"]


def test_an_unsent_answer_leaves_a_floating_ip_in_state_building(
    tmp_path: Path,
) -> None:
    path = tmp_path / "poolmgr.conf"
    path.write_text(nova_group("loopback"))
    with LoopbackCloud() as cloud, gearmand() as server:
        clouds = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
        lost = threading.Event()

        def wait_for_loss(_call: Call) -> bool:
            assert lost.wait(TIMEOUT)
            return False

        allocation = Fault("POST", "/floatingips", where=wait_for_loss, hang=0)
        process = Process(
            ["--config-file", str(path)]
            + ["--gearman-server", str(server.address), "worker"],
            OS_CLIENT_CONFIG_FILE=str(clouds),
        )
        try:
            process.wait_for("registered")
            cloud.fault(allocation)
            with batch(server.address, [BUILD_IP]):
                until(lambda: cloud.count("POST", path="/floatingips"))
                server.kill()
            process.wait_for("jobs were lost")
            lost.set()
            process.wait_for("outcome=PASS")
        finally:
            lost.set()
            process.end()
        (ip,) = cloud.floating_ips

    assert "state=building" in ip["description"]
