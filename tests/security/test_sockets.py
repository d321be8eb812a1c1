"""All servers listen on 127.0.0.1."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.jobservers import gearmand
from tests.polling import until

LISTENS = "0A"
LOOPBACK = "0100007F"


def listening(pid: int) -> list[str]:
    """Return the addresses where a process listens, in the kernel's form.

    They are found by the inodes of its sockets, without trusting the process.
    """
    inodes = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            socket = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
        except FileNotFoundError:
            # It was closed after the listing.
            continue
        if socket:
            inodes.add(socket[1])
    addresses = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        path = Path(f"/proc/{pid}/net/{table}")
        rows = path.read_text().splitlines()[1:] if path.exists() else []
        for row in map(str.split, rows):
            listens = row[3] == LISTENS or table.startswith("udp")
            if listens and row[9] in inodes:
                addresses.append(row[1].partition(":")[0])
    return addresses


@contextmanager
def running(args: Sequence[str]) -> Iterator[int]:
    """Run a process and yield its id."""
    process = subprocess.Popen(
        [sys.executable, *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "args",
    [
        ["-m", "poolmgr.gearman.server", "--port", "0"],
        ["-m", "poolmgr", "demo", "--stay"],
        ["-m", "poolmgr.testing.openstack"],
    ],
    ids=lambda args: args[1],
)
def test_servers_listen_on_loopback(args: list[str]) -> None:
    with running(args) as pid:
        until(lambda: listening(pid))

        assert set(listening(pid)) == {LOOPBACK}


@pytest.mark.parametrize(
    ("monitoring", "expected"), [("true", {LOOPBACK}), ("false", set())]
)
def test_a_worker_listens_only_on_loopback(
    tmp_path: Path, monitoring: str, expected: set[str]
) -> None:
    config = tmp_path / "poolmgr.conf"
    config.write_text(f"[monitoring]\nenabled = {monitoring}\nport = 0\n")
    with gearmand() as job_server:
        args = ["-m", "poolmgr", "--config-file", str(config)]
        args += ["--driver", "fake", "--gearman-server"]
        log = tmp_path / "log"
        args += [str(job_server.address), "--log-file", str(log), "worker"]
        with running(args) as pid:
            until(lambda: log.exists() and "registered" in log.read_text())

            assert set(listening(pid)) == expected


def test_listening_on_all_addresses_is_detected() -> None:
    """This proves that the tests above can fail."""
    program = (
        "import socket, time; s = socket.socket(); s.bind(('', 0));"
        "s.listen(); time.sleep(60)"
    )
    with running(["-c", program]) as pid:
        until(lambda: listening(pid))

        assert listening(pid) == ["00000000"]
