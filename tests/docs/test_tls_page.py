"""The TLS page works as shown, except for ports and folders."""

import grp
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from poolmgr.gearman import connection
from poolmgr.gearman.endpoint import Address
from tests.batches import BUILD_IP, batch
from tests.docs.blocks import SOURCE, blocks_of
from tests.docs.session import Session
from tests.docs.stage import Stage
from tests.docs.steps import steps_in
from tests.jobservers import JobServerProcess, free_port, gearmand
from tests.logs import complaints
from tests.matrix.terminators import need_stunnel, stunnel
from tests.polling import until
from tests.processes import poolmgr
from tests.wanted import program

PAGE = SOURCE / "tls.rst"
#: The page's files and commands by caption.
SHOWN = {b.options.get("caption", ""): b.text for b in blocks_of(PAGE)}
NAME = "gearman-1.example.com"
#: The message when there is no answer.
RESET = (
    "Connection reset by peer: it may not speak TLS, may not accept our "
    "certificate, or have no job server behind it"
)


class Machines(Stage):
    """The page's machines in one folder, with their certificates.

    :ivar behind: gearmand
    :ivar front: the address of the TLS terminator
    :ivar entry: the address that takes a client's plain Gearman
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        super().__init__(folder, stack)
        need_stunnel()
        self.behind: JobServerProcess = stack.enter_context(gearmand())
        self.front, self.entry = (
            Address("localhost", free_port()) for _ in "12"
        )
        self.names = {
            f"{NAME}:4731": str(self.front),
            "10.1.2.3:4731": f"127.0.0.1:{self.front.port}",
            "connect = 127.0.0.1:4730": f"connect = {self.behind.address}",
            "accept = 127.0.0.1:4730": f"accept = 127.0.0.1:{self.entry.port}",
            NAME: "localhost",
            "/etc/stunnel": str(folder),
            "/etc/poolmgr/tls": str(folder),
        }
        commands = self.real(SHOWN["in an empty folder"])
        subprocess.run(
            ["sh", "-euc", f"{commands}\nissue other serverAuth"],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=300,
        )
        self.fake(self.real(SHOWN["poolmgr.conf"]))

    def run_stunnel(self, certificate: str = "localhost") -> None:
        """Run stunnel on the job server and on the client."""
        # Without root or its Debian user it cannot switch to that.
        groups = {group.gr_name for group in grp.getgrall()}
        for name, port in (
            ("gearmand", self.front.port),
            ("gearman", self.entry.port),
        ):
            text = self.real(SHOWN[f"/etc/stunnel/{name}.conf"])
            text = re.sub(r"localhost(?=\.pem|\.key)", certificate, text)
            if os.geteuid() or "stunnel4" not in groups:
                text = re.sub(r"^set[ug]id = .*\n", "", text, flags=re.M)
            path = self.write(f"{name}.conf", text)
            self.stack.enter_context(stunnel(path, port))


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """Yield the page's machines."""
    with ExitStack() as stack:
        yield Machines(tmp_path, stack)


def answers(address: Address) -> bool:
    """Return whether a job server answers."""
    done = poolmgr("--gearman-server", str(address), "status")
    return done.returncode == 0


def test_jobs_pass_from_a_plain_client_to_the_worker(
    machines: Machines,
) -> None:
    machines.run_stunnel()
    process = machines.worker()
    with batch(machines.entry, [BUILD_IP] * 20) as jobs:
        jobs.passes()

    assert not complaints(process, machines.front)
    assert answers(machines.entry)
    # At most 10 seconds until stunnel's first probe for a vanished worker, not
    # two hours. ss writes 9.5 s as 9.500ms.
    soon = r"timer:\(keepalive,\d(sec|\.\d+ms)"
    ss = program("ss", package="iproute2")
    listen = [ss, "-Htno", f"sport = :{machines.front.port}"]
    until(lambda: re.search(soon, subprocess.check_output(listen, text=True)))


def test_the_checks_print_what_the_page_shows(machines: Machines) -> None:
    machines.run_stunnel()
    machines.worker()

    for block in blocks_of(PAGE, "console"):
        for step in steps_in(block):
            try:
                Session(machines).type(step)
            except AssertionError as error:
                # stunnel resets after its alert; the reset may overtake it.
                assert RESET in str(error)  # noqa: PT017
                assert "it says:" in step.shown


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ("worker-1.example.com", "refused: unsuitable certificate purpose"),
        ("other", "certificate is refused: Hostname mismatch"),
    ],
)
def test_other_certificates_are_not_valid_for_the_job_server(
    machines: Machines, certificate: str, reason: str
) -> None:
    machines.run_stunnel(certificate)
    machines.worker(reason)

    assert not answers(machines.entry)


def test_the_reason_may_be_a_missing_job_server_behind_the_terminator(
    machines: Machines,
) -> None:
    machines.behind.kill()
    machines.run_stunnel()

    process = machines.worker("not reached: TLS: ")

    assert "have no job server behind it" in "".join(process.lines)
    assert machines.run("status") == (
        f"poolmgr: job server {machines.front}: TLS: {RESET}\n"
    )


def test_every_listed_reason_is_given() -> None:
    section = PAGE.read_text().partition("Error messages")[2]
    listed = re.findall("^``(.+)``$", section, re.MULTILINE)
    # Other tests cover OpenSSL's messages.
    here = Path(__file__)
    tests = here.parents[1] / "matrix" / "test_tls.py"
    texts = [Path(p).read_text() for p in (connection.__file__, here, tests)]
    known = re.sub(r'"\s*f?"', "", "".join(texts))

    assert len(listed) >= 8
    for reason in listed:
        assert reason.split(": ")[-1].partition(" '")[0] in known, reason
