"""Job servers that stop answering while their connections stay open."""

import signal
import threading
import time
from pathlib import Path

import pytest

from poolmgr.gearman.endpoint import ConnectionOptions
from tests.jobservers import JobServerProcess, gearmand
from tests.matrix.batches import BUILD, ask, batch
from tests.matrix.logs import NOTICED, complaints, registrations
from tests.matrix.states import State
from tests.polling import until
from tests.processes import worker
from tests.relays import relay

#: Options of a client that tolerates silence.
RARE_PINGS = ConnectionOptions(heartbeat=60.0)


@pytest.mark.endurance
def test_silent_servers_are_noticed_and_served_again(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    """One server is stopped; a relay to another one drops all packets."""
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
                # The stopped server has what was sent before; everything
                # else is redelivered.
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
