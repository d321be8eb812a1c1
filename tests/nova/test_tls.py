"""Tests of mistakes in the TLS settings of the cloud."""

import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from poolmgr import Job
from poolmgr.drivers.nova import NovaCloud, calls
from poolmgr.errors import OutcomeUnknown
from poolmgr.ownership import Mark
from poolmgr.testing.openstack import LoopbackCloud
from tests.clouds import settings_for
from tests.nova.config_folders import ConfigFolder
from tests.peers import peer

#: The end of every message about TLS.
CHECK = "; check the address, REQUESTS_CA_BUNDLE, and cacert, cert and key"


@contextmanager
def tls_keystone(
    folder: ConfigFolder,
    certificate: trustme.LeafCert,
    clients: trustme.CA | None = None,
) -> Iterator[str]:
    """Replace Keystone by a server that only does the TLS handshake.

    :param certificate: of the server
    :param clients: the authority of the clients' certificates
    :returns: its URL
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(context)

    def shake_hands(sock: socket.socket) -> None:
        with context.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False
        ) as tls:
            try:
                tls.do_handshake()
            except ssl.SSLError:
                # Closing with unread data would discard the alert sent.
                tls.shutdown(socket.SHUT_WR)
                while tls.recv(1024):
                    pass

    with peer(shake_hands) as server:
        url = f"https://{server.address}"
        folder.auth["auth_url"] = f"{url}/v3"
        yield url


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def write_file(path: Path, *blobs: trustme.Blob) -> str:
    """Write a file that only its owner can read; return its path."""
    path.write_bytes(b"".join(blob.bytes() for blob in blobs))
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("the host", "certificate is not valid for '127.0.0.1'"),
        ("the time", "certificate has expired"),
        ("the authority", "unable to get local issuer certificate"),
    ],
)
def test_a_rejected_server_certificate_is_reported(
    folder: ConfigFolder, ca: trustme.CA, wrong: str, words: str
) -> None:
    host = "elsewhere.example" if wrong == "the host" else "127.0.0.1"
    past = datetime(2020, 1, 1, tzinfo=UTC) if wrong == "the time" else None
    trusted = trustme.CA() if wrong == "the authority" else ca
    file = write_file(folder.path / "ca.pem", trusted.cert_pem)
    certificate = ca.issue_cert(host, not_after=past)

    with tls_keystone(folder, certificate) as url:
        output = folder.fails(folder.use_clouds_yaml(cacert=file))

    assert url in output
    assert words in output
    assert CHECK in output


def test_a_keystone_without_tls_is_reported(
    folder: ConfigFolder,
) -> None:
    url = folder.auth["auth_url"].replace("http://", "https://")
    folder.auth["auth_url"] = url

    output = folder.fails(
        folder.use_clouds_yaml(), "check", "worker", "build-device"
    )

    assert f"TLS: wrong version number{CHECK}" in output


def test_a_rejected_client_certificate_is_reported(
    folder: ConfigFolder, ca: trustme.CA
) -> None:
    file = write_file(folder.path / "ca.pem", ca.cert_pem)
    pair = trustme.CA().issue_cert("somebody@example.org")
    cert = write_file(folder.path / "cert.pem", *pair.cert_chain_pems)
    key = write_file(folder.path / "key.pem", pair.private_key_pem)

    with tls_keystone(folder, ca.issue_cert("127.0.0.1"), clients=ca):
        output = folder.fails(
            folder.use_clouds_yaml(cacert=file, cert=cert, key=key)
        )

    assert "TLS: " in output
    assert CHECK in output


def encrypt(key: bytes) -> bytes:
    """Return a private key with a pass phrase."""
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM,
        PrivateFormat.PKCS8,
        BestAvailableEncryption(b"open sesame"),
    )


@pytest.mark.parametrize(
    ("option", "content"),
    [
        ("cafile", None),
        ("certfile", None),
        ("keyfile", None),
        ("cafile", b"nothing"),
        ("certfile", b"nothing"),
        ("keyfile", b"nothing"),
        ("keyfile", encrypt),
    ],
)
def test_an_unusable_certificate_or_key_file_is_reported(
    folder: ConfigFolder, ca: trustme.CA, option: str, content: Any
) -> None:
    pair = ca.issue_cert("somebody@example.org")
    files = {
        "cafile": write_file(folder.path / "ca.pem", ca.cert_pem),
        "certfile": write_file(folder.path / "c.pem", *pair.cert_chain_pems),
        "keyfile": write_file(folder.path / "k.pem", pair.private_key_pem),
    }
    path = Path(files[option])
    if content is None:
        path.unlink()
    elif callable(content):
        path.write_bytes(content(path.read_bytes()))
    else:
        path.write_bytes(content)

    with tls_keystone(folder, ca.issue_cert("127.0.0.1")):
        output = folder.fails(folder.use_options(**files))

    assert CHECK in output
    assert content or str(path) in output


def test_a_missing_ca_bundle_of_the_environment_is_reported(
    folder: ConfigFolder,
) -> None:
    url = folder.auth["auth_url"].replace("http://", "https://")
    folder.auth["auth_url"] = url
    environment = folder.use_clouds_yaml()

    output = folder.fails({**environment, "REQUESTS_CA_BUNDLE": "/nowhere"})

    assert "/nowhere" in output
    assert "REQUESTS_CA_BUNDLE" in output


def answer_plainly(server: socket.socket) -> None:
    """Answer each connection without TLS, after a while."""
    with suppress(OSError):
        while True:
            link, _address = server.accept()
            with link:
                time.sleep(0.3)
                link.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")


def test_threads_report_a_shared_login_failure_alike() -> None:
    mark = Mark.for_job("pool", Job("unique", "H:host:1"))
    with (
        LoopbackCloud() as cloud,
        socket.create_server(("127.0.0.1", 0)) as server,
        ThreadPoolExecutor() as threads,
    ):
        threads.submit(answer_plainly, server)
        url = f"https://127.0.0.1:{server.getsockname()[1]}/v3"
        driver = NovaCloud(settings_for(cloud, auth_url=url))
        creations = [
            threads.submit(driver.create_device, "name", mark, 5.0)
            for _thread in range(3)
        ]
        reasons = {str(each.exception()) for each in creations}
        server.shutdown(socket.SHUT_RDWR)

    assert len(reasons) == 1
    assert "TLS: wrong version number" in reasons.pop()


@pytest.mark.parametrize(
    "reason",
    ["TLSV1_ALERT_INTERNAL_ERROR", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"],
)
def test_a_creation_that_ends_in_a_passing_tls_error_has_an_unknown_outcome(
    reason: str,
) -> None:
    call = calls.ApiCall("POST", "compute", "/servers")
    failure = ssl.SSLError(1, f"[SSL: {reason}] failed (_ssl.c:1)")
    failure.reason = reason

    error = calls.error_of(call, failure, "https://nova.example")

    assert isinstance(error, OutcomeUnknown)
