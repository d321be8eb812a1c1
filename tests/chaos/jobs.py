"""The jobs of a run, and what came back."""

import asyncio
import json
import random
import uuid
from dataclasses import dataclass, field

from poolmgr.errors import TransportError
from poolmgr.gearman import Address, Client
from tests.chaos.field import FUNCTION

#: Seconds in which every job has to be answered, whoever is killed.
PATIENCE = 180.0


@dataclass(eq=False)
class Asked:
    """A job and its answer.

    :ivar answer: None when none came: the job server was killed
    """

    action: str
    request: dict[str, str]
    unique: str = field(default_factory=lambda: str(uuid.uuid4()))
    answer: dict[str, str] | None = None

    @property
    def passed(self) -> bool:
        """Whether it is a PASS."""
        return self.answer is not None and self.answer["response"] == "PASS"

    def __str__(self) -> str:
        return f"{self.action} unique={self.unique} answer={self.answer}"


class Clients:
    """Has jobs done, a few at a time, for as long as it is told.

    :param server: the job server
    :param chance: decides what is asked for
    :param at_once: how many clients wait for an answer
    """

    def __init__(
        self, server: Address, chance: random.Random, at_once: int
    ) -> None:
        self.jobs: list[Asked] = []
        self._server = server
        self._chance = chance
        self._at_once = at_once
        self._over = False

    async def run(self) -> None:
        """Go on until :meth:`finish`, and wait for the answers then."""
        await asyncio.gather(*(self._one() for _each in range(self._at_once)))

    def do(self, job: Asked) -> None:
        """Have one job done."""
        asyncio.run(self._ask(job))

    def finish(self) -> None:
        """Ask for nothing more."""
        self._over = True

    def passed(self, action: str) -> list[Asked]:
        """The jobs of an action that were a PASS."""
        return [j for j in self.jobs if j.action == action and j.passed]

    async def _one(self) -> None:
        while not self._over:
            for job in self._next():
                await self._ask(job)

    def _next(self) -> list[Asked]:
        number = self._chance.random()
        if number < 0.6:
            return [Asked("BUILD_DEVICE", {})]
        if number < 0.8:
            return [Asked("BUILD_IP", {})]
        return self._assignment()

    def _assignment(self) -> list[Asked]:
        """An address and a device that no other assignment has."""
        taken = {v for j in self.jobs for v in j.request.values()}
        devices = [
            j.answer["name"]
            for j in self.passed("BUILD_DEVICE")
            if j.answer and j.answer["name"] not in taken
        ]
        ips = [
            j.answer["ip"]
            for j in self.passed("BUILD_IP")
            if j.answer and j.answer["ip"] not in taken
        ]
        if not devices or not ips:
            return [Asked("BUILD_IP", {})]
        request = {
            "name": self._chance.choice(devices),
            "ip": self._chance.choice(ips),
        }
        return [Asked("ASSIGN_IP", request)]

    async def _ask(self, job: Asked) -> None:
        self.jobs.append(job)
        message = json.dumps({"action": job.action, **job.request}).encode()
        while True:
            try:
                async with Client([self._server]) as client:
                    submitted = await client.submit(
                        FUNCTION, message, unique=job.unique
                    )
                    answer = await submitted.result(PATIENCE)
            except TransportError as error:
                # The job server was killed; the job is gone with it.
                if "no job server reached" not in str(error):
                    return
                await asyncio.sleep(0.1)
            else:
                job.answer = json.loads(answer)
                return
