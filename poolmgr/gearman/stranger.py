"""What answers where a job server should be."""

from poolmgr.gearman.options import LinkOptions

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


def recognize(said: bytes) -> str:
    """What a peer is that began with this; empty if that is not known."""
    for beginning, what in _BEGINNINGS.items():
        if said.startswith(beginning):
            return what
    return ""


def describe(said: bytes) -> str:
    """What a peer is that began with this and is no job server."""
    return recognize(said) or "it is not a job server (gearmand)"


def describe_silence(options: LinkOptions) -> str:
    """What a peer may be that takes a connection and says nothing."""
    if options.ssl is None:
        return "it may not be a job server (gearmand), or speak only TLS"
    return "what is behind it may not be a job server (gearmand)"
