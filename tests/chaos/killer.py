"""Kills workers, and sometimes the job server, at random moments."""

import asyncio
import contextlib
import random
from collections.abc import Coroutine

from tests.chaos.field import Field, Member
from tests.chaos.plan import Plan
from tests.chaos.trouble import hold

#: Share of the kills that hit all workers at once; larger for kills aimed at
#: a call, since it may be any worker's.
_ALL, _ALL_AIMED = 0.15, 0.5
#: Share of the kills that are aimed at a changing call.
_AIMED = 0.7
#: Maximum seconds until a worker, or the job server, is restarted.
_WORKER_AWAY, _SERVER_AWAY = 2.0, 2.0


class Killer:
    """Kills processes and restarts them, at once or later."""

    def __init__(self, field: Field, plan: Plan, dice: random.Random) -> None:
        self._field = field
        self._plan = plan
        self._dice = dice
        self._returning: set[asyncio.Task[None]] = set()

    async def work(self, stop: asyncio.Event) -> None:
        """Kill until stopped, then restart everything that was killed."""
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
            # A slow call is likely to be interrupted by the kill.
            fault = hold(self._dice)
            await asyncio.to_thread(self._field.cloud.trouble, fault)
            await asyncio.sleep(self._dice.uniform(0.2, fault["hang"]))
        several = chance > 1 - (_ALL_AIMED if aimed else _ALL)
        for member in self._field.victims(self._dice, several):
            self._field.kill(member)
            self._schedule(self._restart(member))

    async def _strike_server(self) -> None:
        self._field.kill_server()
        await asyncio.sleep(self._dice.choice([0.0, _SERVER_AWAY]))
        await asyncio.to_thread(self._field.server.start)

    async def _restart(self, member: Member) -> None:
        if self._dice.random() < 0.5:
            await asyncio.sleep(self._dice.uniform(0.0, _WORKER_AWAY))
        member.start()

    def _schedule(self, what: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(what)
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
