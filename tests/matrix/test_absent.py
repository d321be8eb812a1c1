"""Job servers that are down or do not answer, next to one that works."""

import socket
from pathlib import Path

import pytest
import trustme

from tests.batches import BUILD, ask
from tests.certificates import Certificates
from tests.jobservers import free_port, gearmand
from tests.logs import complaints, registrations
from tests.matrix.terminators import terminator
from tests.peers import black_hole, hangs_at_a_grab, is_silent, peer
from tests.polling import until
from tests.processes import worker
from tests.states import ONE_SLOT

IMPATIENT = "[gearman]\nconnect_timeout = 1\n"


def test_a_dead_first_server_is_served_once_it_starts() -> None:
    with gearmand(start=False) as first, gearmand() as second:
        servers = [str(first.address), str(second.address)]
        with worker(servers) as process:
            assert ask(second.address, BUILD)["response"] == "PASS"
            process.wait_for(f"{first.address}: not reached")
            first.start()
            process.wait_for(f"{first.address}: connected and registered")

            assert ask(first.address, BUILD)["response"] == "PASS"
            assert ask(second.address, BUILD)["response"] == "PASS"
            # It is logged once, however often the worker retried.
            assert complaints(process, first.address) == [
                "not reached: Connection refused"
            ]


def test_the_death_of_one_server_does_not_affect_the_other() -> None:
    with gearmand() as first, gearmand() as second:
        servers = [str(first.address), str(second.address)]
        with worker(servers) as process:
            until(lambda: registrations(process) == 2)
            second.kill()
            process.wait_for(f"{second.address}: lost")

            assert ask(first.address, BUILD)["response"] == "PASS"
            assert registrations(process) == 2


def test_unresponsive_servers_do_not_delay_the_start() -> None:
    """The default time-outs are much longer than this test."""
    with gearmand() as good, black_hole() as hole, peer(is_silent) as silent:
        require_connect_timeout(hole.port)
        servers = [str(hole), str(silent.address), str(good.address)]
        with worker(servers) as process:
            for _attempt in range(3):
                assert ask(good.address, BUILD)["response"] == "PASS"

            assert not complaints(process, hole)
            assert not complaints(process, silent.address)
            until(lambda: registrations(process) == 1)


def require_connect_timeout(port: int) -> None:
    """Check that connecting to a port times out."""
    with socket.socket() as sock:
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.connect(("127.0.0.1", port))


def test_unresponsive_servers_are_retried_without_delaying_others(
    tmp_path: Path,
) -> None:
    with gearmand() as good, black_hole() as hole, peer(is_silent) as silent:
        servers = [str(hole), str(silent.address), str(good.address)]
        with worker(servers, IMPATIENT, tmp_path) as process:
            process.wait_for(f"{good.address}: connected and registered")
            process.wait_for("not connected within 1 s")
            while len(silent.times) < 3:
                assert ask(good.address, BUILD)["response"] == "PASS"

            until(lambda: registrations(process) == 1)
            until(lambda: complaints(process, silent.address))
            (line,) = complaints(process, silent.address)
            assert "not reached: no answer within 1 s: it may" in line


def test_a_server_that_hangs_at_a_grab_blocks_the_only_slot_until_noticed(
    tmp_path: Path,
) -> None:
    """gearmand cannot be made to hang, so a scripted server does."""
    with gearmand() as good, peer(hangs_at_a_grab) as hung:
        servers = [str(hung.address), str(good.address)]
        quick = f"{IMPATIENT}heartbeat = 0.5\n{ONE_SLOT}"
        with worker(servers, quick, tmp_path) as process:
            process.wait_for(f"{hung.address}: connected and registered")
            for _attempt in range(3):
                assert ask(good.address, BUILD)["response"] == "PASS"
            process.wait_for(f"{hung.address}: lost: no sign of life")
            process.wait_for(f"{hung.address}: connected and registered")
            assert ask(good.address, BUILD)["response"] == "PASS"


def test_a_silent_tls_handshake_does_not_delay_other_servers(
    tmp_path: Path,
) -> None:
    """The default time-out is much longer than this test."""
    files = Certificates(tmp_path, trustme.CA())
    config = f"[gearman]\n{files.config()}"
    with gearmand() as good, peer(is_silent) as silent:
        with terminator("python", good.address, files.server()) as front:
            servers = [f"localhost:{silent.address.port}", str(front)]
            with worker(servers, config, tmp_path) as process:
                for _attempt in range(3):
                    assert ask(good.address, BUILD)["response"] == "PASS"

                assert silent.times
                assert not complaints(process, servers[0])
                until(lambda: registrations(process) == 1)


def test_the_worker_waits_until_the_first_job_server_starts() -> None:
    port = free_port()
    with worker([f"127.0.0.1:{port}"]) as process:
        process.wait_for("not reached: Connection refused")
        with gearmand(port=port) as server:
            process.wait_for("connected and registered")
            assert ask(server.address)["response"] == "PASS"
