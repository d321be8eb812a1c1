"""A TLS terminator in front of gearmand requires client certificates."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from poolmgr.gearman.endpoint import Address
from tests.batches import BUILD, batch
from tests.certificates import Certificates, Identity
from tests.jobservers import gearmand
from tests.logs import complaints, registrations
from tests.matrix.terminators import terminator
from tests.peers import peer, says
from tests.processes import poolmgr, worker
from tests.states import State

both = pytest.mark.parametrize("kind", ["stunnel", "python"])


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path, trustme.CA())


@both
def test_jobs_pass_with_valid_certificates(
    files: Certificates, tmp_path: Path, kind: str
) -> None:
    state = State(tmp_path)
    tls = f"[gearman]\n{files.config()}"
    with (
        gearmand() as server,
        terminator(kind, server.address, files.server()) as front,
        worker([str(front)], state.config(tls), tmp_path) as process,
    ):
        process.wait_for("registered")
        with batch(server.address, [BUILD] * 50) as jobs:
            jobs.passes()
        command = ["--config-file", str(tmp_path / "worker.conf")]
        command += ["--gearman-server", str(front)]
        done = poolmgr(*command, "submit", json.dumps(BUILD))
        status = poolmgr(*command, "status", "-f", "json")

        assert registrations(process) == 1
        assert not complaints(process, front)
    assert json.loads(done.stdout)["response"] == "PASS"
    assert json.loads(status.stdout)[0]["Workers"] == 1
    assert len(state.owned()) == 51


def wrong_name(files: Certificates) -> tuple[Identity, Identity]:
    return files.server("gearman.example.org"), files.client()


def unknown_authority(files: Certificates) -> tuple[Identity, Identity]:
    rogue = Certificates(files.folder, trustme.CA(), files.authority)
    return rogue.server(), files.client()


def expired(files: Certificates) -> tuple[Identity, Identity]:
    return files.server(expired=True), files.client()


def client_expired(files: Certificates) -> tuple[Identity, Identity]:
    return files.server(), files.client(expired=True)


def client_of_unknown_authority(
    files: Certificates,
) -> tuple[Identity, Identity]:
    rogue = Certificates(files.folder, trustme.CA(), files.authority)
    return files.server(), rogue.client()


def no_client_certificate(files: Certificates) -> tuple[Identity, Identity]:
    client = files.client()
    return files.server(), replace(client, cert="", key="")


Make = Callable[[Certificates], tuple[Identity, Identity]]


@both
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (wrong_name, "Hostname mismatch, certificate is not valid for"),
        (unknown_authority, "unable to get local issuer certificate"),
        (expired, "certificate has expired"),
        (client_expired, "it says: certificate expired; check"),
        (client_of_unknown_authority, "it says: unknown ca"),
        (no_client_certificate, "it says: certificate required"),
    ],
)
def test_invalid_certificates_are_refused_with_a_reason(
    files: Certificates, tmp_path: Path, kind: str, make: Make, words: str
) -> None:
    theirs, ours = make(files)
    config = "[gearman]\n" + "".join(
        f"{line}\n" for line in ours.config().splitlines() if line[-2:] != "= "
    )
    with (
        gearmand() as server,
        terminator(kind, server.address, theirs) as front,
    ):
        require_refused(front, config, tmp_path, words)


def require_refused(
    front: Address, config: str, folder: Path, words: str
) -> None:
    """Check that a worker and a command report the TLS failure in one line."""
    # Some terminators close without an alert.
    client_fault = words.startswith("it ")
    pattern = f"{words}|may not accept our" if client_fault else words
    with worker([str(front)], config, folder) as process:
        process.wait_for(f"Job server {front}: ")
        logged = complaints(process, front)
        done = poolmgr(
            *("--config-file", str(folder / "worker.conf")),
            *("--gearman-server", str(front)),
            *("submit", "{}"),
        )
    assert registrations(process) == 0
    assert len(logged) == 1
    assert re.search(f"not reached: TLS: .*({pattern})", logged[0])
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert re.search(f"{front}: TLS: .*({pattern})", done.stderr)


def test_a_worker_does_not_fall_back_to_plain_text(
    files: Certificates, tmp_path: Path
) -> None:
    config = f"[gearman]\n{files.config()}"
    with gearmand() as server:
        front = Address("localhost", server.address.port)
        require_refused(front, config, tmp_path, "it may not speak TLS")


def test_an_ssh_server_is_refused(files: Certificates, tmp_path: Path) -> None:
    config = f"[gearman]\n{files.config()}"
    with peer(says(b"SSH-2.0-x\r\n")) as ssh:
        front = Address("localhost", ssh.address.port)
        require_refused(front, config, tmp_path, "wrong version number")
