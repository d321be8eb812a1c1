"""Job servers that fall silent, with their links up."""

import signal
import threading
import time
from pathlib import Path

import pytest

from poolmgr.gearman import ConnectionOptions
from tests.jobservers import JobServerProcess, gearmand
from tests.matrix.batches import BUILD, ask, batch
from tests.matrix.logs import NOTICED, complaints, registrations
from tests.matrix.states import State
from tests.polling import until
from tests.processes import worker
from tests.relays import relay

#: Of a client that does not mind.
RARE_PINGS = ConnectionOptions(heartbeat=60.0)


@pytest.mark.endurance
def test_servers_that_fall_silent_are_noticed_and_served_again(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    """One is stopped; between the worker and another a relay, which stands
    for a network that drops packets, falls silent."""
    state = State(tmp_path)
    swallows = threading.Event()

    def passed(data: bytes) -> bytes:
        return b"" if swallows.is_set() else data

    with gearmand() as far, relay(far.address, passed, passed) as between:
        with gearmand() as good:
            stopped, silent = str(job_server.address), str(between.address)
            servers = [stopped, silent, str(good.address)]
            config = state.config(boot_time=2)
            with (
                worker(servers, config, tmp_path) as process,
                batch(
                    job_server.address, [BUILD] * 10, options=RARE_PINGS
                ) as a,
                batch(far.address, [BUILD] * 10, options=RARE_PINGS) as b,
            ):
                until(lambda: len(state.devices()) == 20)
                began = time.monotonic()
                swallows.set()
                job_server.signal(signal.SIGSTOP)
                try:
                    until(lambda: complaints(process, stopped), 2 * NOTICED)
                    until(lambda: complaints(process, silent), 2 * NOTICED)
                    assert time.monotonic() - began < NOTICED
                    assert ask(good.address)["response"] == "PASS"
                finally:
                    job_server.signal(signal.SIGCONT)
                swallows.clear()
                # What was sent to the stopped one before, it has; all the
                # rest is delivered again.
                answers = a.passes() + b.passes()
                until(lambda: registrations(process) >= 5)
                for server in (job_server, far, good):
                    assert ask(server.address)["response"] == "PASS"

                assert not complaints(process, good.address)
    assert len(state.devices()) == 20
    owners = state.owners()
    uniques = [*a.uniques, *b.uniques]
    for answer, unique in zip(answers, uniques, strict=True):
        assert owners[answer["name"]] == unique
