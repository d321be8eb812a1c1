"""Where a job server listens."""

import re
import socket
from dataclasses import dataclass
from typing import Self

from poolmgr.errors import ConfigError
from poolmgr.text import one_line

_FORM = re.compile(
    r"(?:\[(?P<v6>[^][\s]+)\]|(?P<name>[^][:\s]+))(?::(?P<port>[0-9]{1,5}))?"
)


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
        match = _FORM.fullmatch(text.strip())
        port = int(match["port"] or cls.port) if match else 0
        if match is None or not text.isprintable() or not 0 < port <= 65535:
            raise ConfigError(
                f"job server {one_line(text)!r} is not HOST, HOST:PORT, "
                "[IPV6] or [IPV6]:PORT with a port from 1 to 65535"
            )
        return cls(match["v6"] or match["name"], port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def host_name() -> str:
    """The name of this host, as a word that the protocol can carry."""
    return re.sub(r"[^\w.-]+", "-", socket.gethostname())
