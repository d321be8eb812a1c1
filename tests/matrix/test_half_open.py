"""Connections whose other end disappeared silently, between two hosts.

``test_silent`` covers this where network namespaces are not available.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.batches import BUILD
from tests.jobservers import need_gearmand
from tests.logs import (
    NOTICE_TIME,
    complaints,
    executions,
    registrations,
)
from tests.matrix.networks import SERVER, Cable, Host, cable
from tests.polling import until
from tests.processes import worker
from tests.states import NEVER, State

IDLE, BUSY = (f"{SERVER}:{port}" for port in (4730, 4731))


@contextmanager
def gearmand(host: Host, where: str) -> Iterator[None]:
    """Run a gearmand on a host."""
    address, _colon, port = where.partition(":")
    process = subprocess.Popen(
        [
            *(*host.through(), need_gearmand()),
            *(f"--listen={address}", f"--port={port}", "--log-file=none"),
            # The documented options, with which it notices lost workers.
            *("--keepalive", "--keepalive-idle=2"),
            *("--keepalive-interval=1", "--keepalive-count=3"),
        ],
        stdin=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(60.0)


@pytest.fixture
def hosts() -> Iterator[Cable]:
    """Yield a host with two gearmands, and a host for the worker."""
    with ExitStack() as stack:
        hosts = stack.enter_context(cable())
        for where in (IDLE, BUSY):
            stack.enter_context(gearmand(hosts.server, where))
        yield hosts


class Submission:
    """A build submitted from a host."""

    def __init__(self, host: Host, server: str) -> None:
        self._process = subprocess.Popen(
            [
                *(*host.through(), sys.executable, "-m", "poolmgr"),
                *("--gearman-server", server, "submit", json.dumps(BUILD)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )

    def passes(self) -> None:
        """Wait for the answer, which must be a PASS."""
        answer, _nothing = self._process.communicate(timeout=120.0)
        assert json.loads(answer)["response"] == "PASS"

    def close(self) -> None:
        """Kill the client."""
        self._process.kill()
        self._process.communicate(timeout=60.0)


@pytest.mark.endurance
@pytest.mark.parametrize("fault", [Cable.unplug, Cable.swallow])
def test_half_open_connections_are_noticed_and_reopened(
    hosts: Cable, tmp_path: Path, fault: Callable[[Cable], None]
) -> None:
    """One connection is idle; the other has sent an unacknowledged answer."""
    state = State(tmp_path)
    config = state.config(boot_time=NEVER)
    through = hosts.worker.through()
    with worker([IDLE, BUSY], config, tmp_path, through) as process:
        until(lambda: registrations(process) == 2)
        with closing(Submission(hosts.server, BUSY)) as submission:
            until(lambda: len(state.devices()) == 1)
            # TCP sends no keepalives while data is unacknowledged, and the
            # receiver may delay the acknowledgement by 40 ms.
            time.sleep(0.5)
            fault(hosts)
            idle = time.monotonic()
            assert not executions(process)
            state.boot(mark.unique for mark in state.marks())
            until(lambda: executions(process))
            busy = time.monotonic()

            until(lambda: complaints(process, IDLE), 2 * NOTICE_TIME)
            assert time.monotonic() - idle < NOTICE_TIME
            until(lambda: complaints(process, BUSY), 2 * NOTICE_TIME)
            assert time.monotonic() - busy < NOTICE_TIME

            hosts.mend()
            # gearmand has noticed as well and redelivers the job.
            submission.passes()
        until(lambda: registrations(process) == 4)
        with closing(Submission(hosts.server, IDLE)) as submission:
            until(lambda: len(state.devices()) == 2)
            state.boot(mark.unique for mark in state.marks())
            submission.passes()

    marks = [(mark.state, mark.taken) for mark in state.marks()]
    assert sorted(marks) == [("handed over", 0), ("handed over", 1)]
