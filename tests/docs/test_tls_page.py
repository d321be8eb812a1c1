"""The TLS page works as shown, except for ports and folders."""

import grp
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from poolmgr.gearman import connection
from poolmgr.gearman.endpoint import Address
from tests.batches import BUILD_IP, batch
from tests.docs.blocks import SOURCE, blocks_of
from tests.docs.steps import steps_in
from tests.jobservers import JobServerProcess, free_port, gearmand
from tests.logs import complaints
from tests.matrix.terminators import need_stunnel, stunnel
from tests.polling import until
from tests.processes import Process, poolmgr, worker
from tests.wanted import program

PAGE = SOURCE / "tls.rst"
#: The page's files and commands by caption.
SHOWN = {b.options.get("caption", ""): b.text for b in blocks_of(PAGE)}
SERVER, CLIENT = "/etc/stunnel/gearmand.conf", "/etc/stunnel/gearman.conf"
NAME = "gearman-1.example.com"
#: The message when there is no answer.
RESET = (
    "Connection reset by peer: it may not speak TLS, may not accept our "
    "certificate, or have no job server behind it"
)


@dataclass(frozen=True)
class Stage:
    """The machines of the page, all in one folder.

    :ivar behind: the address of gearmand
    :ivar front: the address of the TLS terminator
    :ivar entry: the address that takes a client's plain Gearman
    """

    folder: Path
    behind: JobServerProcess
    front: Address
    entry: Address

    def local(self, text: str) -> str:
        """Return a text of the page with local paths and ports."""
        plain = self.behind.address.port
        for there, here in (
            (f"{NAME}:4731", str(self.front)),
            # gearmand's port at an address that it does not use
            (f"{NAME}:4730", f"127.0.0.2:{plain}"),
            ("10.1.2.3:4731", f"127.0.0.1:{self.front.port}"),
            ("connect = 127.0.0.1:4730", f"connect = 127.0.0.1:{plain}"),
            (
                "accept = 127.0.0.1:4730",
                f"accept = 127.0.0.1:{self.entry.port}",
            ),
            (NAME, "localhost"),
            ("/etc/stunnel", str(self.folder)),
            ("/etc/poolmgr/tls", str(self.folder)),
        ):
            text = text.replace(there, here)
        return text

    def write(self, caption: str, **changes: str) -> Path:
        """Write a file of the page with local paths and ports.

        :param changes: options with other values
        """
        text = self.local(SHOWN[caption])
        for name, value in changes.items():
            text, count = re.subn(
                rf"^{name} = .*", f"{name} = {value}", text, flags=re.M
            )
            assert count == 1
        if not can_be_stunnel4():
            text = re.sub(r"^set[ug]id = .*\n", "", text, flags=re.M)
        path = self.folder / Path(caption).name
        path.write_text(text)
        return path

    def issue(self, name: str, purpose: str) -> Path:
        """Issue another certificate with the page's commands."""
        self.shell(f"issue {name} {purpose}")
        return self.folder / f"{name}.pem"

    def shell(self, more: str = "") -> None:
        """Run commands of the page in the shell."""
        text = self.local(SHOWN["in an empty folder"])
        if more:
            # Skip the first command, which creates the authority.
            begin = text.index("openssl req -x509")
            end = text.index("\n\n", begin)
            text = text[:begin] + text[end:].partition("\nissue ")[0]
        subprocess.run(
            ["sh", "-euc", f"{text}\n{more}"],
            cwd=self.folder,
            check=True,
            capture_output=True,
            timeout=300,
        )


def can_be_stunnel4() -> bool:
    """Return whether stunnel can switch to its Debian user."""
    try:
        grp.getgrnam("stunnel4")
    except KeyError:
        return False
    return os.geteuid() == 0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Yield a gearmand with the page's certificates."""
    need_stunnel()
    with gearmand() as server:
        front, entry = (Address("localhost", free_port()) for _ in "12")
        stage = Stage(tmp_path, server, front, entry)
        stage.shell()
        yield stage


@contextmanager
def worker_of(stage: Stage) -> Iterator[Process]:
    """Run a worker with the page's configuration."""
    text = stage.write("poolmgr.conf").read_text()
    with worker([], text, stage.folder) as process:
        yield process


def test_jobs_pass_from_a_plain_client_to_the_worker(stage: Stage) -> None:
    with (
        stunnel(stage.write(SERVER), stage.front.port),
        stunnel(stage.write(CLIENT), stage.entry.port),
        worker_of(stage) as process,
        batch(stage.entry, [BUILD_IP] * 20) as jobs,
    ):
        jobs.passes()
        assert not complaints(process, stage.front)


def words(text: str) -> str:
    """Return a text without table borders."""
    return re.sub(r"[-+|\s]+", " ", text).strip()


def test_the_checks_print_what_the_page_shows(stage: Stage) -> None:
    shown = blocks_of(PAGE, "console")
    steps = [step for block in shown for step in steps_in(block)]
    assert len(steps) == 1
    config = stage.write("poolmgr.conf")
    command = stage.folder / "poolmgr"
    command.write_text(
        f'#!/bin/sh\nexec {sys.executable} -m poolmgr "$@" '
        f"--config-file {config}\n"
    )
    command.chmod(0o755)
    path = f"{stage.folder}:{os.environ['PATH']}"
    with (
        stunnel(stage.write(SERVER), stage.front.port),
        worker_of(stage) as process,
    ):
        process.wait_for("registered")
        for step in steps:
            output = stage.local(step.shown)
            done = subprocess.run(
                ["sh", "-c", stage.local(step.command)],
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            actual = words(done.stdout + done.stderr)
            # stunnel resets after its alert; the reset may overtake it.
            lost = re.sub(" it says: .*", f" {RESET}", output)
            assert actual in (words(output), words(lost)), step.where


def test_a_client_certificate_is_not_valid_for_a_job_server(
    stage: Stage,
) -> None:
    stage.issue("localhost", "clientAuth")
    with (
        stunnel(stage.write(SERVER), stage.front.port),
        stunnel(stage.write(CLIENT), stage.entry.port),
        worker_of(stage) as process,
    ):
        process.wait_for("refused: unsuitable certificate purpose")
        assert not answers(stage.entry)


def test_another_servers_certificate_is_refused(stage: Stage) -> None:
    other = stage.issue("gearman-2.example.com", "serverAuth")
    config = stage.write(
        SERVER, cert=str(other), key=str(other.with_suffix(".key"))
    )
    with (
        stunnel(config, stage.front.port),
        stunnel(stage.write(CLIENT), stage.entry.port),
        worker_of(stage) as process,
    ):
        process.wait_for("certificate is refused: Hostname mismatch")
        assert not answers(stage.entry)


def answers(address: Address) -> bool:
    """Return whether a job server answers."""
    done = subprocess.run(
        [sys.executable, "-m", "poolmgr"]
        + ["--gearman-server", str(address), "status"],
        capture_output=True,
        timeout=300,
        check=False,
    )
    return done.returncode == 0


def test_the_working_setup_answers(stage: Stage) -> None:
    with (
        stunnel(stage.write(SERVER), stage.front.port),
        stunnel(stage.write(CLIENT), stage.entry.port),
    ):
        assert answers(stage.entry)


def test_stunnel_probes_for_vanished_workers(stage: Stage) -> None:
    ss = program("ss", package="iproute2")

    def timers() -> str:
        return subprocess.run(
            [ss, "-Htno", f"sport = :{stage.front.port}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    with (
        stunnel(stage.write(SERVER), stage.front.port),
        worker_of(stage) as process,
    ):
        process.wait_for("registered")
        # At most 10 seconds until the first probe, not two hours.
        # ss writes 9.5 s as 9.500ms.
        soon = r"timer:\(keepalive,\d(sec|\.\d+ms)"
        until(lambda: re.search(soon, timers()))


def test_the_reason_may_be_a_missing_job_server_behind_the_terminator(
    stage: Stage,
) -> None:
    stage.behind.kill()
    with (
        stunnel(stage.write(SERVER), stage.front.port),
        worker_of(stage) as process,
    ):
        line = process.wait_for("not reached: TLS: ")
        asked = poolmgr(
            "--config-file", str(stage.folder / "worker.conf"), "status"
        )
    assert "have no job server behind it" in line
    assert asked.stderr == (
        f"poolmgr: job server {stage.front}: TLS: {RESET}\n"
    )


def test_every_listed_reason_is_given() -> None:
    section = PAGE.read_text().partition("Error messages")[2]
    listed = [
        reason
        for line in section.splitlines()
        if line.startswith("``")
        for reason in re.findall("``(.+?)``", line)
    ]
    # Other tests cover OpenSSL's messages.
    path = Path(__file__)
    tests = (path, path.parents[1] / "matrix" / "test_tls.py")
    texts = [
        source(connection),
        *(t.read_text() for t in tests),
    ]
    known = re.sub(r'"\s*f?"', "", "".join(texts))

    assert len(listed) >= 8
    for reason in listed:
        assert reason.split(": ")[-1].partition(" '")[0] in known, reason


def source(module: ModuleType) -> str:
    return Path(module.__file__ or "").read_text()
