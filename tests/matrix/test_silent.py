"""Job servers that stop answering while their connections stay open."""

import signal
import threading
import time
from pathlib import Path

import pytest

from poolmgr.gearman.endpoint import ConnectionOptions
from tests.batches import BUILD, ask, batch
from tests.jobservers import JobServerProcess, gearmand
from tests.logs import NOTICE_TIME, complaints, registrations
from tests.polling import until
from tests.processes import worker
from tests.relays import relay
from tests.states import State

#: Options of a client that tolerates silence.
RARE_PINGS = ConnectionOptions(heartbeat=60.0)


@pytest.mark.endurance
def test_silent_servers_are_noticed_and_served_again(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    """One server is stopped; a relay to another one drops all packets."""
    state = State(tmp_path)
    dropping = threading.Event()

    def pass_on(data: bytes) -> bytes:
        return b"" if dropping.is_set() else data

    with gearmand() as far, relay(far.address, pass_on, pass_on) as between:
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
                dropping.set()
                job_server.signal(signal.SIGSTOP)
                try:
                    limit = 2 * NOTICE_TIME
                    until(lambda: complaints(process, stopped), limit)
                    until(lambda: complaints(process, silent), limit)
                    assert time.monotonic() - began < NOTICE_TIME
                    assert ask(good.address)["response"] == "PASS"
                finally:
                    job_server.signal(signal.SIGCONT)
                dropping.clear()
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
