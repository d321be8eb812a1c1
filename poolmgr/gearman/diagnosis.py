"""What answers where a job server should be."""

from poolmgr.gearman.options import ConnectionOptions

_TLS = (
    "it speaks TLS and was spoken to in plain text: set [gearman] ssl_ca, or "
    "name its port without TLS"
)
_BEGINNINGS = {
    b"\x15\x03": _TLS,
    b"\x16\x03": _TLS,
    b"HTTP/": "an HTTP server answers there, not a job server (gearmand)",
    b"<": "an HTTP server answers there, not a job server (gearmand)",
    b"SSH-": "an SSH server answers there, not a job server (gearmand)",
    b"220 ": "a mail or FTP server answers there, not a job server (gearmand)",
    b"-ERR": "a Redis server answers there, not a job server (gearmand)",
}


def identify(said: bytes) -> str:
    """What a peer is, by its first bytes; empty if that cannot be told."""
    for beginning, what in _BEGINNINGS.items():
        if said.startswith(beginning):
            return what
    return ""


def describe_wrong_peer(said: bytes) -> str:
    """What a peer is that began with these bytes and is no job server."""
    return identify(said) or "it is not a job server (gearmand)"


def describe_silence(options: ConnectionOptions) -> str:
    """What a peer may be that accepts a connection and sends nothing."""
    if options.ssl is None:
        return "it may not be a job server (gearmand), or speak only TLS"
    return "what is behind it may not be a job server (gearmand)"
