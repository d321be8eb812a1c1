"""Why there is no connection to a job server, on one line."""

import os
import ssl

from poolmgr.text import one_line

_BEGINNINGS = {
    b"\x15\x03": "it speaks TLS and was spoken to in plain text: set "
    "[gearman] ssl_ca, or name its port without TLS",
    b"HTTP": "an HTTP server answers there, not a job server (gearmand)",
    b"<": "an HTTP server answers there, not a job server (gearmand)",
    b"SSH-": "an SSH server answers there, not a job server (gearmand)",
    b"220 ": "a mail or FTP server answers there, not a job server (gearmand)",
    b"-ERR": "a Redis server answers there, not a job server (gearmand)",
}
"""What a server is by its first bytes; none has more than four."""

_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it requires a client "
    "certificate: set [gearman] ssl_cert and ssl_key",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it says our certificate is revoked",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the authority of our "
    "certificate",
    "WRONG_VERSION_NUMBER": "what answers there does not speak TLS",
}
"""What the commonest errors of TLS mean, by OpenSSL's names."""


def identify(said: bytes) -> str:
    """What a peer is, by its first bytes; empty if that cannot be told."""
    for beginning, what in _BEGINNINGS.items():
        if said.startswith(beginning):
            return what
    return ""


def reason_of(error: Exception | None) -> str:
    """Why a connection was not made, or has ended.

    :param error: None if the peer has closed it
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        why = one_line(error.verify_message).rstrip(".")
        return f"TLS: the job server's certificate is refused: {why}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        return f"TLS: {_ALERTS.get(reason) or one_line(reason)}"
    if isinstance(error, OSError) and error.strerror:
        # asyncio's own words repeat the address.
        if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)
        return one_line(error.strerror)
    # What asyncio makes of an end in the TLS handshake has no words.
    return one_line(str(error or "")) or "closed by the job server"
