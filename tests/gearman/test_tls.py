"""Tests of TLS contexts and files.

Refused certificates are in ``tests/matrix/test_tls.py``.
"""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from poolmgr.errors import ConfigError
from poolmgr.gearman.endpoint import Address, ConnectionOptions, client_context
from tests.certificates import Certificates, Identity
from tests.gearman_workers import running, until
from tests.peers import is_silent, peer


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path, trustme.CA())


def options(identity: Identity) -> ConnectionOptions:
    context = client_context(identity.ca, identity.cert, identity.key)
    return ConnectionOptions(ssl=context, connect_timeout=2.0)


def test_tls_is_1_2_or_newer(files: Certificates) -> None:
    context = client_context(files.client().ca, None, None)

    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_tls_is_off_without_files() -> None:
    assert client_context(None, None, None) is None


@pytest.mark.parametrize("missing", ["ca", "cert", "key", "ca cert", "ca key"])
def test_incomplete_tls_files_are_refused(
    files: Certificates, missing: str
) -> None:
    paths: dict[str, str | None] = dict(vars(files.client()))
    for name in missing.split():
        paths[name] = None

    with pytest.raises(
        ConfigError, match="needs a CA file .* its key, and a key"
    ):
        client_context(**paths)


@pytest.mark.parametrize("which", ["ca", "cert", "key"])
@pytest.mark.parametrize("content", [None, "", "garbage\n"])
def test_the_error_of_an_unusable_file_names_it(
    files: Certificates, which: str, content: str | None
) -> None:
    paths: dict[str, str] = dict(vars(files.client()))
    path = Path(paths[which])
    path.unlink()
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigError, match=path.name) as caught:
        client_context(**paths)

    assert "\n" not in str(caught.value)


def test_a_key_of_another_certificate_is_refused(
    files: Certificates, tmp_path: Path
) -> None:
    own = files.client()
    other = tmp_path / "other"
    other.mkdir()
    key = Certificates(other, files.authority).client().key

    with pytest.raises(ConfigError, match="key"):
        client_context(own.ca, own.cert, key)


def test_a_silent_tls_handshake_times_out(
    files: Certificates,
) -> None:
    async def scenario(address: Address) -> str:
        tls = options(files.client())
        async with running(address, options=tls) as worker:
            await until(lambda: worker.worker.connections[0].last_error)
            return str(worker.worker.connections[0].last_error)

    with peer(is_silent) as silent:
        address = Address("localhost", silent.address.port)
        assert "within 2 s" in asyncio.run(scenario(address))
