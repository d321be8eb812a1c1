"""Submit jobs and wait for their answers."""

import uuid
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

from poolmgr.errors import ConfigError, TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.client_connection import ClientConnection, SubmittedJob
from poolmgr.gearman.connection import ConnectionOptions, connect
from poolmgr.gearman.protocol import (
    MAX_NAME,
    SUBMIT,
    PacketType,
    Priority,
)
from poolmgr.text import one_line


class Client:
    """Submits jobs to the first of the job servers that can be reached.

    Use it with ``async with``. Many jobs may be under way at once; each
    comes back by itself. A lost connection is not replaced: all jobs that
    wait on it fail then, and so does each later submit.

    :param servers: in the order in which they are tried
    """

    def __init__(
        self,
        servers: Sequence[Address],
        options: ConnectionOptions | None = None,
    ) -> None:
        if not servers:
            raise ConfigError("no job server is given")
        self._servers = servers
        self._options = options or ConnectionOptions()
        self._connection: ClientConnection | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        :raises TransportError: with all servers and why each failed
        """
        failures = []
        for server in self._servers:
            try:
                connecting = partial(ClientConnection, server, self._options)
                self._connection = await connect(
                    server, self._options, connecting
                )
                return self
            except TransportError as error:
                failures.append(f"{server}: {error}")
        raise TransportError(f"no job server reached: {'; '.join(failures)}")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # After an error nobody has the time.
            seconds = 2 if kind is None else 0
            await connection.close("the client was closed", seconds)

    async def submit(
        self,
        function: str,
        payload: bytes,
        *,
        unique: str | None = None,
        background: bool = False,
        priority: Priority = "normal",
    ) -> SubmittedJob:
        """Hand in a job.

        :param unique: two jobs of one unique (and function) are one while
            they are queued or running; None takes a fresh one, an empty one
            is never the same as another
        :returns: when the server has taken the job
        :raises ConfigError: the function or the unique cannot be sent
        :raises TransportError: the server refused it, or the connection is
            lost
        """
        if unique is None:
            unique = str(uuid.uuid4())
        raw = _unique(unique)
        if not function or "\0" in function:
            raise ConfigError("a function's name is not empty, without NUL")
        kind = SUBMIT[priority, background]
        return await self._connected().submit(
            kind, function.encode(), raw, payload, background=background
        )

    async def has(self, *, unique: str = "", handle: str = "") -> bool:
        """Whether the job server has a job, queued or running.

        :param unique: the client's name of the job
        :param handle: the job server's, which counts if there is no unique,
            or if the unique is longer than gearmand keeps
        :raises TransportError: the connection is lost
        """
        # What is read back from a cloud may be no text at all.
        kind = PacketType.GET_STATUS_UNIQUE
        raw = unique.encode(errors="replace")
        if not 0 < len(raw) <= MAX_NAME:
            kind = PacketType.GET_STATUS
            raw = handle.encode(errors="replace")
        if len(raw) > MAX_NAME or b"\0" in raw:
            return False  # gearmand answers nothing, or closes the connection
        status = await self._connected().ask_status(kind, raw)
        return status[1] == b"1"

    async def listeners(self, unique: bytes) -> int | None:
        """How many clients wait for the answer of a job; 0 if it is in
        background, None if that cannot be told.

        :param unique: as it is on the wire
        :raises TransportError: the connection is lost
        """
        # Without a unique of its own nobody's name tells which job it is.
        if unique in (b"", b"-") or len(unique) > MAX_NAME:
            return None
        status = await self._connected().ask_status(
            PacketType.GET_STATUS_UNIQUE, unique
        )
        return int(status[5]) if status[1] == b"1" else None

    def _connected(self) -> ClientConnection:
        if self._connection is None:
            raise TransportError("the client is not connected")
        return self._connection


def _unique(unique: str) -> bytes:
    try:
        raw = unique.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"the unique {one_line(unique)!r} is not UTF-8"
        ) from None
    if b"\0" in raw:
        raise ConfigError(f"the unique {one_line(unique)!r} contains NUL")
    if len(raw) > MAX_NAME:
        raise ConfigError(
            f"the unique has {len(raw)} bytes: gearmand garbles jobs whose "
            f"unique has more than {MAX_NAME}"
        )
    return raw
