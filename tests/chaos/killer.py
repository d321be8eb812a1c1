"""Kills workers, and now and then the job server, at any moment."""

import asyncio
import contextlib
import random
from collections.abc import Coroutine

from tests.chaos.field import Field, Member
from tests.chaos.plan import Plan
from tests.chaos.trouble import hold

#: Part of the kills that takes all workers at once; and of those that are
#: aimed at a call, for nobody knows which worker's it is.
_ALL, _ALL_AIMED = 0.15, 0.5
#: Part of the kills that are aimed at a call that changes something.
_AIMED = 0.7
#: Longest time in seconds that a worker, or the job server, is not there.
_WORKER_AWAY, _SERVER_AWAY = 2.0, 2.0


class Killer:
    """Kills, and has what was killed started again, at once or later."""

    def __init__(self, field: Field, plan: Plan, dice: random.Random) -> None:
        self._field = field
        self._plan = plan
        self._dice = dice
        self._returning: set[asyncio.Task[None]] = set()

    async def work(self, stop: asyncio.Event) -> None:
        """Kill until it is enough; then all that was killed is back."""
        while not stop.is_set():
            pause = self._dice.expovariate(1 / self._plan.pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.wait()
                    break
            await self._strike()
        await asyncio.gather(*self._returning)
        await asyncio.to_thread(self._field.restore)

    async def _strike(self) -> None:
        chance = self._dice.random()
        if chance < self._plan.server_share:
            await self._strike_server()
            return
        aimed = self._plan.faults and self._dice.random() < _AIMED
        if aimed:
            # A call that takes long is likely to be met by the kill.
            fault = hold(self._dice)
            await asyncio.to_thread(self._field.cloud.trouble, fault)
            await asyncio.sleep(self._dice.uniform(0.2, fault["hang"]))
        several = chance > 1 - (_ALL_AIMED if aimed else _ALL)
        for member in self._field.victims(self._dice, several):
            self._field.kill(member)
            self._later(self._back(member))

    async def _strike_server(self) -> None:
        self._field.kill_server()
        await asyncio.sleep(self._dice.choice([0.0, _SERVER_AWAY]))
        await asyncio.to_thread(self._field.server.start)

    async def _back(self, member: Member) -> None:
        if self._dice.random() < 0.5:
            await asyncio.sleep(self._dice.uniform(0.0, _WORKER_AWAY))
        member.start()

    def _later(self, what: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(what)
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
