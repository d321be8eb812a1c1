"""TLS: verified both ways, or not at all."""

import asyncio
import datetime
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from poolmgr.errors import ConfigError, TransportError
from poolmgr.gearman import Address, Client, LinkOptions, client_context
from poolmgr.gearman.server import JobServer
from tests.gearman_workers import FUNCTION, PATIENCE, running, until


@dataclass
class Files:
    """An authority and what it has signed, as files."""

    folder: Path
    authority: trustme.CA

    def write(self, name: str, blobs: list[trustme.Blob]) -> str:
        """Put some PEM into a file."""
        path = self.folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return str(path)

    @property
    def ca(self) -> str:
        """The authority's certificate."""
        return self.write("ca.pem", [self.authority.cert_pem])

    def client(self) -> tuple[str, str]:
        """A client's certificate and key."""
        issued = self.authority.issue_cert("worker@example.org")
        return (
            self.write("cert.pem", issued.cert_chain_pems),
            self.write("key.pem", [issued.private_key_pem]),
        )

    def server(
        self, name: str = "localhost", expired: bool = False
    ) -> ssl.SSLContext:
        """A server that demands certificates of this authority."""
        yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(
            days=1
        )
        issued = self.authority.issue_cert(
            name, not_after=yesterday if expired else None
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        self.authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path, trustme.CA())


def options(context: ssl.SSLContext | None) -> LinkOptions:
    assert context is not None
    return LinkOptions(ssl=context, connect_timeout=2.0, retry_longest=0.2)


async def reason(server_side: ssl.SSLContext, client_side: LinkOptions) -> str:
    """Why a worker and a client do not get through to a server."""
    server = JobServer("localhost", tls=server_side)
    await server.start()
    try:
        async with running(server.address, options=client_side) as worker:
            await until(lambda: worker.worker.links[0].last_error)
            (link,) = worker.worker.links
            assert link.state != "up"
        with pytest.raises(TransportError):
            async with Client([server.address], client_side):
                pass
        return str(link.last_error)
    finally:
        await server.close()


def test_jobs_go_over_tls_with_both_sides_verified(files: Files) -> None:
    async def scenario() -> None:
        server = JobServer("localhost", tls=files.server())
        await server.start()
        both = options(client_context(files.ca, *files.client()))
        async with (
            running(server.address, options=both) as worker,
            Client([server.address], both) as client,
        ):
            submitted = await client.submit(FUNCTION, b"x" * 100_000)
            worker.done(await worker.job(), b"y")
            assert await submitted.result(PATIENCE) == b"y"
        await server.close()

    asyncio.run(scenario())


def test_a_server_of_another_name_is_refused(files: Files) -> None:
    mine = options(client_context(files.ca, *files.client()))

    said = asyncio.run(reason(files.server("gearman.example.org"), mine))

    assert "TLS" in said
    assert "localhost" in said


def test_a_server_of_another_authority_is_refused(
    files: Files, tmp_path: Path
) -> None:
    mine = options(client_context(files.ca, *files.client()))
    rogue = Files(tmp_path, trustme.CA())

    said = asyncio.run(reason(rogue.server(), mine))

    assert "TLS: " in said


def test_an_expired_server_is_refused(files: Files) -> None:
    mine = options(client_context(files.ca, *files.client()))

    said = asyncio.run(reason(files.server(expired=True), mine))

    assert "expired" in said


def test_without_its_certificate_a_worker_is_refused(files: Files) -> None:
    bare = options(client_context(files.ca, None, None))

    assert asyncio.run(reason(files.server(), bare))


def test_nothing_older_than_tls_1_2_is_spoken(files: Files) -> None:
    context = client_context(files.ca, None, None)

    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_without_any_file_there_is_no_tls() -> None:
    assert client_context(None, None, None) is None


@pytest.mark.parametrize("missing", ["ca", "cert", "key", "ca cert", "ca key"])
def test_half_of_a_configuration_is_refused(
    files: Files, missing: str
) -> None:
    cert, key = files.client()
    given: dict[str, str | None] = {"ca": files.ca, "cert": cert, "key": key}
    for name in missing.split():
        given[name] = None

    with pytest.raises(ConfigError):
        client_context(**given)


@pytest.mark.parametrize("which", ["ca", "cert", "key"])
@pytest.mark.parametrize("content", [None, "", "garbage\n"])
def test_a_file_that_cannot_be_used_is_named(
    files: Files, which: str, content: str | None
) -> None:
    cert, key = files.client()
    given = {"ca": files.ca, "cert": cert, "key": key}
    path = Path(given[which])
    path.unlink()
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigError, match=path.name) as caught:
        client_context(**given)

    assert "\n" not in str(caught.value)


def test_a_key_of_another_certificate_is_refused(
    files: Files, tmp_path: Path
) -> None:
    cert, _key = files.client()
    other = tmp_path / "other"
    other.mkdir()
    _cert, key = Files(other, files.authority).client()

    with pytest.raises(ConfigError, match="key"):
        client_context(files.ca, cert, key)


def test_a_server_silent_in_the_handshake_is_given_up(files: Files) -> None:
    async def scenario() -> str:
        async def say_nothing(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await reader.read(-1)
            writer.close()

        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            mine = options(client_context(files.ca, None, None))
            async with running(
                Address("localhost", port), options=mine
            ) as worker:
                await until(lambda: worker.worker.links[0].last_error)
                (link,) = worker.worker.links
        return str(link.last_error)

    assert "within 2 s" in asyncio.run(scenario())
