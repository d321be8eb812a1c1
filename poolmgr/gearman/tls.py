"""TLS towards the job servers."""

import ssl

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
    _check_complete(ca, cert, key)
    for what, path in (("CA", ca), ("certificate", cert), ("key", key)):
        if path:
            _check_readable(what, path)
    # Of these no system authority is trusted, only what `ca` holds.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_ca(context, ca or "")
    if cert and key:
        _load_pair(context, cert, key)
    return context


_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it demands a certificate of ours",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it says our certificate is revoked",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": (
        "it does not accept our certificate"
    ),
    "TLSV1_ALERT_ACCESS_DENIED": "it does not accept our certificate",
    "TLSV1_ALERT_UNKNOWN_CA": (
        "it does not know the authority of our certificate"
    ),
    "WRONG_VERSION_NUMBER": "what answers there does not speak TLS",
}
"""What a job server's alerts mean to us, by OpenSSL's names."""

NO_REASON = (
    "it may not accept our certificate, or have no job server behind it"
)
"""A guess: with TLS 1.3 our handshake ends before the server has looked at
our certificate, and not every server says what it thinks of it; what it says
may be lost with the connection, too."""


def reason_of_refusal(error: ssl.SSLError) -> str:
    """Why TLS came to nothing, on one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = one_line(error.verify_message).rstrip(".")
        return f"TLS: the job server's certificate is refused: {why}"
    reason = error.reason or str(error)
    return f"TLS: {_ALERTS.get(reason) or one_line(reason)}"


def _check_complete(ca: str | None, cert: str | None, key: str | None) -> None:
    if cert and not key:
        raise ConfigError("TLS: a certificate is given, but no key for it")
    if key and not cert:
        raise ConfigError("TLS: a key is given, but no certificate for it")
    if not ca:
        raise ConfigError(
            "TLS: a certificate and a key are given, but no CA file to"
            " verify the job servers with"
        )


def _load_ca(context: ssl.SSLContext, ca: str) -> None:
    try:
        context.load_verify_locations(cafile=ca)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"TLS: CA file {one_line(ca)!r} holds no usable"
            f" certificate ({_why(error)})"
        ) from error


def _load_pair(context: ssl.SSLContext, cert: str, key: str) -> None:
    try:
        # Without a password of its own OpenSSL would ask the terminal.
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"TLS: certificate {one_line(cert)!r} and key"
            f" {one_line(key)!r} cannot be used together ({_why(error)})"
        ) from error


def _no_password() -> bytes:
    raise ValueError("the key has a pass phrase")


def _check_readable(what: str, path: str) -> None:
    try:
        with open(path, "rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"TLS: {what} file {one_line(path)!r} cannot be read"
            f" ({_why(error)})"
        ) from error


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return one_line(error.reason or str(error))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return one_line(str(error))
