"""Certificate files for a job server and its workers."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

_YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """The files of a certificate, its key and the trusted authority."""

    cert: str
    key: str
    ca: str

    def config(self) -> str:
        """Return a worker's options for it."""
        return (
            f"ssl_cert = {self.cert}\nssl_key = {self.key}\n"
            f"ssl_ca = {self.ca}\n"
        )

    def context(self) -> ssl.SSLContext:
        """Return a server's context that requires client certificates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


@dataclass(frozen=True)
class Certificates:
    """An authority and its certificates.

    :ivar folder: the folder of the files
    :ivar trusted: the authority of the other side, if it is another one
    """

    folder: Path
    authority: trustme.CA
    trusted: trustme.CA | None = None

    def server(
        self, name: str = "localhost", expired: bool = False
    ) -> Identity:
        """Issue a job server's certificate."""
        return self._issue("server", name, expired)

    def client(self, expired: bool = False) -> Identity:
        """Issue a worker's certificate."""
        return self._issue("client", "worker@example.org", expired)

    def config(self) -> str:
        """Return a worker's options for a new certificate."""
        return self.client().config()

    def _issue(self, what: str, name: str, expired: bool) -> Identity:
        issued = self.authority.issue_cert(
            name, not_after=_YESTERDAY if expired else None
        )
        trusted = self.trusted or self.authority
        return Identity(
            self._write(f"{what}.pem", issued.cert_chain_pems),
            self._write(f"{what}.key", [issued.private_key_pem]),
            self._write(f"{what}-trusts.pem", [trusted.cert_pem]),
        )

    def _write(self, name: str, blobs: list[trustme.Blob]) -> str:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return str(path)
