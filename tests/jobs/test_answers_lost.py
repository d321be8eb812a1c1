"""Tests of answers that are lost on their way to the client."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from poolmgr.errors import TransportError
from tests.batches import BUILD, BUILD_IP, ask, batch
from tests.jobservers import gearmand
from tests.polling import until
from tests.processes import worker
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
    state = State(tmp_path)
    config = state.config(call_time=1)
    with gearmand() as server:
        with worker([str(server.address)], config, tmp_path) as process:
            process.wait_for("registered")
            with batch(server.address, [BUILD_IP]):
                # The connection breaks during the second call, which
                # allocates; the first one looks for the job's floating IP.
                time.sleep(1.5)
                server.kill()
            process.wait_for("outcome=PASS")

    assert [mark.state for mark in state.marks()] == ["building"]
