"""``poolmgr submit``."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import replace
from typing import Any

from poolmgr.cli.base import PoolmgrShowOne, Table
from poolmgr.cli.options import seconds
from poolmgr.cli.usage import UsageError
from poolmgr.errors import PoolmgrError, TransportError
from poolmgr.gearman import Client, SubmittedJob
from poolmgr.settings.gearman import with_advice
from poolmgr.worker.signals import Interrupted


class Submit(PoolmgrShowOne):
    """Send a message to the job servers and print the answer.

    The message is sent as it is. A FAIL is printed, too, and the exit code is
    1 then.
    """

    _job: SubmittedJob | None = None

    @property
    def formatter_default(self) -> str:
        """An answer is JSON."""
        return "json"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The message, and how to send it."""
        add = parser.add_argument
        add(
            "message",
            metavar="MESSAGE",
            help="""the message, like '{"action": "BUILD_DEVICE"}', or - """
            "to read it from standard input",
        )
        add(
            "--wait",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="wait for the answer and print it (the default), or print "
            "the job's handle and leave; the answer is lost then",
        )
        add(
            "--background",
            action="store_false",
            dest="wait",
            help="the same as --no-wait",
        )
        add(
            "--timeout",
            type=seconds,
            metavar="SECONDS",
            help="longest time in all, connecting included (default: none)",
        )
        add(
            "--priority",
            choices=("low", "normal", "high"),
            default="normal",
            help="the job's priority (default: normal)",
        )
        add("--unique", help="the job's unique ID (default: a new uuid)")

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Send it, and wait for the answer."""
        payload = parsed_args.message.encode()
        if parsed_args.message == "-":
            payload = sys.stdin.buffer.read()
        answering = self._answer(payload, parsed_args)
        try:
            with self.progress(self._step):
                answer = self.app.interruption.run(answering)
        except Interrupted as interrupted:
            if self._job is not None:
                handle = self._job.handle
                interrupted.said += f"; job {handle} was not waited for"
            raise
        self.failed = answer.get("response") == "FAIL"
        self._reason = _reason(answer)
        return self.dict2columns(answer)

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Any,
    ) -> int:
        """Print it; a FAIL need not have what ``-c`` names."""
        with suppress(UsageError) if self.failed else nullcontext():
            super().produce_output(parsed_args, column_names, data)
        if self.failed:
            self.app.stdout.flush()
            self.app.LOG.error(self._reason)
        return 0

    async def _answer(
        self, payload: bytes, given: argparse.Namespace
    ) -> dict[str, object]:
        gearman = self.configuration.gearman()
        servers, options = gearman.addresses(), gearman.connection_options()
        if given.timeout is not None:
            # Each server has its share: the next one may answer.
            share = given.timeout / len(servers)
            longest = min(options.connect_timeout, share)
            options = replace(options, connect_timeout=longest)
        try:
            async with asyncio.timeout(given.timeout) as limit:
                client = Client(servers, options)
                return await self._send(client, payload, given)
        except TimeoutError:
            if not limit.expired():
                raise
            late = f"no answer within {given.timeout:g} s"
            if self._job is not None:
                late = f"job {self._job.handle}: {late}"
            else:
                late = f"{late} from {', '.join(map(str, servers))}"
            raise TransportError(late) from None

    async def _send(
        self, client: Client, payload: bytes, given: argparse.Namespace
    ) -> dict[str, object]:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(client)
            except TransportError as error:
                raise TransportError(with_advice(error)) from error
            self._job = await client.submit(
                self.configuration.worker().function,
                payload,
                unique=given.unique,
                background=not given.wait,
                priority=given.priority,
            )
            if not given.wait:
                return {"handle": self._job.handle}
            return _decoded(await self._job.result())

    def _step(self) -> str:
        job = self._job
        if job is None:
            return "connecting"
        far = ", {} of {}".format(*job.progress) if job.progress else ""
        return f"no answer yet to {job.handle}{far}"


def _decoded(answer: bytes) -> dict[str, object]:
    try:
        decoded = json.loads(answer)
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        raise PoolmgrError(
            f"the answer is not a JSON object: {answer[:200]!r}"
        )
    return decoded


def _reason(answer: dict[str, object]) -> str:
    error = answer.get("error")
    if isinstance(error, dict) and "message" in error:
        return str(error["message"])
    return (
        "job failed; see the worker's log, or set [poolmgr] explain_failures "
        "to get the reason in the answer"
    )
