"""A shared client that submits jobs and collects answers."""

import asyncio
import json

from poolmgr.errors import TransportError
from poolmgr.gearman.client import Client, JobFailed, JobTimeout
from tests.batches import FUNCTION
from tests.chaos.field import Field
from tests.chaos.ledger import Entry, Ledger

#: Seconds within which every job must be answered: twice the time of a build
#: with its clean-up, since it may be taken over late.
TIMEOUT = 240.0


class Desk:
    """A shared client that reconnects when its job server is back."""

    def __init__(self, field: Field, ledger: Ledger) -> None:
        self._field = field
        self._ledger = ledger
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def ask(self, action: str, **fields: str) -> Entry:
        """Submit a job and wait until it is answered or lost."""
        client = await self._connected()
        deaths = self._field.deaths
        entry = self._ledger.open(action, **fields)
        message = {"action": action, **fields}
        try:
            job = await client.submit(
                FUNCTION, json.dumps(message).encode(), unique=entry.unique
            )
            entry.handle = job.handle
            answer = await job.result(TIMEOUT)
        except (JobTimeout, JobFailed) as error:
            self._ledger.lost(entry, str(error))
            self._ledger.problem(entry, f"it was not answered: {error}")
        except TransportError as error:
            if self._client is client:
                self._client = None
            self._ledger.lost(entry, str(error))
            if self._field.deaths == deaths:
                self._ledger.problem(entry, f"the link broke: {error}")
        else:
            self._ledger.answered(entry, _parsed(answer))
        return entry

    async def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            await self._client.__aexit__(None, None, None)

    async def _connected(self) -> Client:
        async with self._connecting:
            async with asyncio.timeout(TIMEOUT):
                while self._client is None:
                    client = Client([self._field.server.address])
                    try:
                        self._client = await client.__aenter__()
                    except TransportError:
                        await asyncio.sleep(0.1)
            return self._client


def _parsed(answer: bytes) -> object:
    try:
        parsed: object = json.loads(answer)
    except ValueError:
        return answer
    return parsed
