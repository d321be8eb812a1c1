"""Where a job server listens."""

import re
import socket
from dataclasses import dataclass
from typing import Self

from poolmgr.errors import ConfigError
from poolmgr.text import one_line


@dataclass(frozen=True)
class Address:
    """Host and port of a job server.

    :ivar host: a name or an IP address; IPv6 without brackets
    :ivar port: 1 to 65535
    """

    host: str
    port: int = 4730

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``.

        :raises ConfigError: when it is none of them
        """
        try:
            host, port = _split(text.strip())
            return cls(host, cls.port if port is None else _number(port))
        except ValueError as error:
            raise ConfigError(
                f"job server {one_line(text)!r}: {error}"
            ) from None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def host_name() -> str:
    """The name of this host, as a word that the protocol can carry."""
    return re.sub(r"[^\w.-]+", "-", socket.gethostname())


def _split(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("expected [address] or [address]:port")
        port = rest[1:] if rest else None
    else:
        host, colon, rest = text.partition(":")
        port = rest if colon else None
        if ":" in rest:
            raise ValueError("an IPv6 address must be in [brackets]")
    if not host:
        raise ValueError("the host is empty")
    if any(c.isspace() or not c.isprintable() for c in host):
        raise ValueError("the host contains blanks or control characters")
    return host, port


def _number(port: str) -> int:
    # int() alone would take "+1", " 1", "1_0" and other scripts' digits.
    if port.isascii() and port.isdigit() and len(port) <= 5:
        number = int(port)
        if 1 <= number <= 65535:
            return number
    raise ValueError("the port must be a number from 1 to 65535")
