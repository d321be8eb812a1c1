"""Servers that accept a connection and violate the protocol."""

import os
import struct
from pathlib import Path

from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.protocol import PacketType, encode
from tests.batches import BUILD, ask, batch
from tests.jobservers import gearmand
from tests.logs import complaints, executions, registrations
from tests.peers import closes, peer, peers
from tests.polling import until
from tests.processes import Process, worker
from tests.relays import JOB_ASSIGN_UNIQ, relay
from tests.states import State, require_one_device_per_job

RES = b"\0RES"

#: What a server sends, and what the worker logs about it.
NONSENSE = {
    b"HTTP/1.1 400 Bad\r\n\r\n": "not understood: HTTP: it may not",
    b"SSH-2.0-OpenSSH_9.2\r\n": "not understood: SSH-",
    b"\0REQ" + struct.pack(">II", 6, 0): "not understood: \\x00REQ",
    RES + struct.pack(">Ii", 6, -1): "packet of 4294967295 bytes",
    RES + struct.pack(">II", 8, 2**31): "packet of 2147483648 bytes",
    RES + struct.pack(">II", 4711, 0): "unknown packet type 4711",
    RES + struct.pack(">II", 31, 3) + b"abc": "with 1 instead of 4 arguments",
    RES
    + struct.pack(">II", 6, 3)
    + b"abc": "NOOP with 1 instead of 0 arguments",
    encode(PacketType.NO_JOB, magic=RES): "unexpected NO_JOB",
    encode(PacketType.ECHO_RES, b"", magic=RES) * 9: "unexpected ECHO_RES",
    encode(
        PacketType.JOB_CREATED, b"H:x:1", magic=RES
    ): "unexpected JOB_CREATED",
    # Half a packet and then silence: the worker waits for the rest.
    RES + b"\0\0": "no answer within 0.5 s",
    RES + struct.pack(">II", 31, 2**20) + b"H:x:1\0": "no answer within 0.5 s",
    # Jobs may be large, but the rest of this one never comes.
    RES + struct.pack(">II", 31, 2**31) + b"H:x:1\0": "no answer within 0.5 s",
}


def cpu_seconds(process: Process) -> float:
    """Return the CPU seconds that a process has used."""
    with open(f"/proc/{process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_invalid_packets_close_only_that_connection(tmp_path: Path) -> None:
    config = "[gearman]\nconnect_timeout = 0.5\nreconnect_sleep = 0.2\n"
    with gearmand() as good, peers(NONSENSE) as bad:
        servers = [*(str(each.address) for each in bad), str(good.address)]
        with worker(servers, config, tmp_path) as process:
            process.wait_for(f"{good.address}: connected and registered")
            while min(len(each.times) for each in bad) < 4:
                assert ask(good.address, BUILD)["response"] == "PASS"

            for each, words in zip(bad, NONSENSE.values(), strict=True):
                # The worker may register before it receives the packet.
                _wait_for_complaint(words, process, each.address)
            # On a busy machine the first attempt may have taken too long.
            assert "lost" not in "".join(complaints(process, good.address))


def _wait_for_complaint(words: str, process: Process, server: Address) -> None:
    until(lambda: any(words in line for line in complaints(process, server)))


def test_reconnecting_to_a_closing_server_costs_little_cpu(
    tmp_path: Path,
) -> None:
    """Jitter shortens each default pause by at most half."""
    attempts = 7
    shortest = 0.5 * sum((0.1, 0.2, 0.4, 0.8, 1.6, 3.2))
    with gearmand() as good, peer(closes) as bad:
        servers = [str(bad.address), str(good.address)]
        with worker(servers) as process:
            process.wait_for(f"{good.address}: connected and registered")
            before = cpu_seconds(process)
            until(lambda: len(bad.times) >= attempts)
            spent = cpu_seconds(process) - before
            assert ask(good.address)["response"] == "PASS"

            # Either error may occur, depending on the timing.
            logged = complaints(process, bad.address)
            assert len(logged) == len(set(logged))
            hint = "it may not be a job server (gearmand), or speak only TLS"
            assert set(logged) <= {
                f"not reached: closed by the job server: {hint}",
                f"not reached: Connection reset by peer: {hint}",
            }
            assert registrations(process) == 1
    assert bad.times[attempts - 1] - bad.times[0] >= shortest
    assert spent < 0.1 * (bad.times[attempts - 1] - bad.times[0])


def test_garbage_between_jobs_causes_a_reconnect_and_loses_no_job(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    config = state.config("[worker]\nlong_jobs = 50\n", boot_time=1)
    corrupted: list[bytes] = []

    def corrupt(data: bytes) -> bytes:
        if len(corrupted) < 3 and JOB_ASSIGN_UNIQ in data:
            corrupted.append(data)
            at = data.index(JOB_ASSIGN_UNIQ)
            return data[:at] + b"\0RES\xff\xff" + data[at + 6 :]
        return data

    with gearmand() as server:
        with relay(server.address, to_worker=corrupt) as between:
            with worker([str(between.address)], config, tmp_path) as process:
                process.wait_for("registered")
                with batch(server.address, [BUILD] * 50) as jobs:
                    answers = jobs.passes()

                until(lambda: registrations(process) == 4)
                until(lambda: len(executions(process)) == 50)
                assert max(executions(process).values()) <= 2
    assert len(corrupted) == 3
    require_one_device_per_job(state, jobs, answers)
