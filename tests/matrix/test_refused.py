"""Jobs that the job server no longer knows, or that were cancelled."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from poolmgr.gearman.client import JobFailed
from tests.batches import BUILD, BUILD_IP, ask, batch, cancel, job_counts
from tests.jobservers import JobServerProcess, gearmand
from tests.logs import executions, refusals, registrations
from tests.matrix.packets import PacketFilter, change_handle
from tests.polling import until
from tests.processes import worker
from tests.relays import WORK_COMPLETE, relay
from tests.states import NEVER, State

JOBS = 100


class Refusal:
    """A relay filter that makes gearmand refuse every N-th answer.

    :param every: N
    :ivar refused: the refused packets
    """

    def __init__(self, every: int) -> None:
        self.refused: list[bytes] = []
        self._every = every
        self._answers = 0

    def __call__(self, packet: bytes) -> bytes:
        """Pass on a packet for the job server, or change its handle."""
        if not packet.startswith(WORK_COMPLETE):
            return packet
        self._answers += 1
        if self._answers % self._every:
            return packet
        self.refused.append(packet)
        return change_handle(packet)


def test_one_refused_answer_repeats_no_other_job(tmp_path: Path) -> None:
    state = State(tmp_path)
    config = state.config(
        f"[worker]\nlong_jobs = {JOBS}\n", boot_time=1, boot_spread=0.5
    )
    # Only one answer is refused.
    refusal = Refusal(JOBS // 2 + 1)
    with gearmand() as server:
        with relay(server.address, PacketFilter(refusal)) as between:
            with worker([str(between.address)], config, tmp_path) as process:
                process.wait_for("registered")
                with batch(server.address, [BUILD] * JOBS) as jobs:
                    until(lambda: len(executions(process)) == JOBS)
                    # gearmand still waits for the one refused answer.
                    until(lambda: job_counts(server.address) == (1, 1))
                    until(lambda: len(state.owned()) == JOBS - 1)
                    assert ask(server.address)["response"] == "PASS"

                assert len(refusal.refused) == 1
                assert registrations(process) == 1
                assert set(executions(process).values()) == {1}
    assert set(state.owners().values()) < set(jobs.uniques)


@pytest.mark.parametrize("message", [BUILD, BUILD_IP])
def test_only_resources_of_refused_answers_are_deleted(
    tmp_path: Path, message: dict[str, str]
) -> None:
    state = State(tmp_path)
    config = state.config(f"[worker]\nlong_jobs = {JOBS}\n")
    refusal = Refusal(3)
    with gearmand() as server:
        with relay(server.address, PacketFilter(refusal)) as between:
            with worker([str(between.address)], config, tmp_path) as process:
                process.wait_for("registered")
                with batch(server.address, [message] * 60) as jobs:
                    until(lambda: len(executions(process)) == 60)
                    until(lambda: len(state.marks()) == 40)
                    until(lambda: job_counts(server.address) == (20, 20))
                    until(lambda: refusals(process) == 20)

                assert registrations(process) == 1
                assert len(refusal.refused) == 20
    assert {mark.state for mark in state.marks()} == {"handed over"}
    assert set(state.owned()) < set(jobs.uniques)


@pytest.fixture
def server() -> Iterator[JobServerProcess]:
    """Yield a gearmand; the built-in job server cannot cancel."""
    with gearmand() as server:
        yield server


def test_a_cancelled_job_does_not_affect_others(
    server: JobServerProcess, tmp_path: Path
) -> None:
    """gearmand notifies only the client and drops the worker's answer."""
    state = State(tmp_path)
    config = state.config("[worker]\nlong_jobs = 10\n", boot_time=NEVER)
    address = server.address
    with worker([str(address)], config, tmp_path) as process:
        process.wait_for("registered")
        with (
            batch(address, [BUILD]) as cancelled,
            batch(address, [BUILD] * 9) as others,
        ):
            until(lambda: len(state.devices()) == 10)
            assert cancel(address, cancelled.handles[0])
            (result,) = cancelled.results()
            assert isinstance(result, JobFailed)
            state.boot([*cancelled.uniques, *others.uniques])
            answers = others.passes()
        # The cancelled job does not keep its slot.
        with batch(address, [BUILD] * 10) as more:
            until(lambda: len(state.devices()) == 20)
            state.boot(more.uniques)
            more.passes()

        assert registrations(process) == 1
        assert set(executions(process).values()) == {1}
    owners = state.owners()
    for answer, unique in zip(answers, others.uniques, strict=True):
        assert owners[answer["name"]] == unique
