"""TLS towards the job servers."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from poolmgr.errors import ConfigError
from poolmgr.text import one_line


def client_context(
    ca: str | None, cert: str | None, key: str | None
) -> ssl.SSLContext | None:
    """What to verify a job server with, and who we are.

    The host name is always verified, and TLS is 1.2 or newer.

    :param ca: file of the authorities that a server's certificate must be
        signed by
    :param cert: file of our certificate, followed by intermediate ones
    :param key: file of our private key, without a pass phrase
    :returns: None, which is plain TCP, only when all three are unset
    :raises ConfigError: when one is missing or cannot be used
    """
    if not (ca or cert or key):
        return None
    if not ca or bool(cert) != bool(key):
        raise ConfigError(
            "TLS needs a CA file to verify the job servers with, a "
            "certificate its key, and a key its certificate"
        )
    # OpenSSL does not say which of its files cannot be read.
    for what, path in (("CA", ca), ("certificate", cert), ("key", key)):
        if path:
            with _blaming(f"{what} file {path!r} cannot be read"):
                open(path, "rb").close()
    # Of these no system authority is trusted, only what `ca` holds.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with _blaming(f"CA file {ca!r} holds no usable certificate"):
        context.load_verify_locations(cafile=ca)
    if cert and key:
        both = f"certificate {cert!r} and key {key!r}"
        with _blaming(f"{both} cannot be used together"):
            # Without a password of its own OpenSSL would ask the terminal.
            context.load_cert_chain(cert, key, password=_no_password)
    return context


def _no_password() -> bytes:
    raise ValueError("the key has a pass phrase")


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    """Have what goes wrong here be a mistake in the configuration."""
    try:
        yield
    except (OSError, ValueError) as error:
        why = str(error)
        if isinstance(error, OSError):
            why = getattr(error, "reason", "") or error.strerror or why
        raise ConfigError(one_line(f"TLS: {what} ({why})")) from error
