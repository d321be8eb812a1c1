"""``poolmgr submit``."""

import argparse
import asyncio
import sys
from dataclasses import replace

from poolmgr.cli.base import PoolmgrShowOne, Table
from poolmgr.cli.usage import UsageError, seconds
from poolmgr.errors import InvalidMessage, PoolmgrError, TransportError
from poolmgr.gearman.client import Client, SubmittedJob, checked
from poolmgr.jobs.message import decode
from poolmgr.settings.gearman import with_advice
from poolmgr.text import one_line
from poolmgr.worker.signals import Interrupted

_NO_REASON = (
    "job failed; see the worker's log, or set [poolmgr] explain_failures to "
    "get the reason in the answer"
)
#: What a job server does with a job whose client has left.
_FATE = "continues if it runs, and is dropped if it is queued"


class Submit(PoolmgrShowOne):
    """Send a message to the job servers and print the answer.

    The message is sent unchanged. After a FAIL the exit code is 1.
    """

    formatter_default = "json"
    _job: SubmittedJob | None = None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the message, and how to send it."""
        add = parser.add_argument
        message = """'{"action": "BUILD_DEVICE"}', or - for standard input"""
        add("message", metavar="MESSAGE", help=message)
        wait = "print the answer (the default), or only the job's handle"
        boolean = argparse.BooleanOptionalAction
        add("--wait", action=boolean, default=True, help=wait)
        same = "the same as --no-wait"
        add("--background", action="store_false", dest="wait", help=same)
        longest = "time limit, including connecting (default: none)"
        add("--timeout", type=seconds, metavar="SECONDS", help=longest)
        ranks, help_ = ("low", "normal", "high"), "priority (default: normal)"
        add("--priority", choices=ranks, default="normal", help=help_)
        add("--unique", type=checked, help="unique ID (default: a new uuid)")

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Submit the job, and wait for the answer."""
        given = parsed_args
        # Bytes that are no UTF-8 are sent unchanged, too.
        payload = given.message.encode(errors="surrogateescape")
        if given.message == "-":
            payload = sys.stdin.buffer.read()
        try:
            with self.progress(self._step):
                answer = self.app.interruption.run(self._ask(given, payload))
        except Interrupted as interrupted:
            if self._job is not None:
                interrupted.detail += f"; job {self._job.handle} {_FATE}"
            raise
        self.failed = answer.get("response") == "FAIL"
        missing = [c for c in given.columns if not {c, c.lower()} & {*answer}]
        if self.failed and missing:  # a FAIL has fewer fields
            raise PoolmgrError(_reason(answer))
        if missing:
            # The only answer, perhaps with the name of a new device.
            given.columns = []
            self.produce_output(given, *self.dict2columns(answer))
            name = one_line(missing[0], 100)
            raise UsageError(
                f"the answer has no column {name!r} and is printed in full"
            )
        if self.failed:
            self.app.LOG.error("%s", _reason(answer))
        return self.dict2columns(answer)

    async def _ask(
        self, given: argparse.Namespace, payload: bytes
    ) -> dict[str, object]:
        """Submit the job; return its answer or, with --no-wait, its handle."""
        gearman = self.configuration.gearman()
        servers, options = gearman.addresses(), gearman.connection_options()
        function = self.configuration.worker().function
        if given.timeout is not None:
            # Leave time for the next server if one does not respond.
            share = given.timeout / len(servers)
            shorter = min(options.connect_timeout, share)
            options = replace(options, connect_timeout=shorter)
        try:
            async with (
                asyncio.timeout(given.timeout),
                Client(servers, options) as client,
            ):
                self._job = await client.submit(
                    function,
                    payload,
                    unique=given.unique,
                    background=not given.wait,
                    priority=given.priority,
                )
                if not given.wait:
                    return {"handle": self._job.handle}
                return decode(await self._job.result())
        except InvalidMessage as error:
            raise PoolmgrError(f"the answer: {error}") from None
        except TransportError as error:
            text = str(error) if self._job else with_advice(error)
            raise TransportError(text) from error
        except TimeoutError:
            silent, fate = ", ".join(map(str, servers)), ""
            if self._job:
                silent, fate = f"job {self._job.handle}", f"; it {_FATE}"
            text = f"{silent}: no answer within {given.timeout:g} s{fate}"
            raise TransportError(text) from None

    def _step(self) -> str:
        job = self._job
        if job is None:
            return "connecting"
        progress = ", {} of {}".format(*job.progress) if job.progress else ""
        return f"no answer yet to {job.handle}{progress}"


def _reason(answer: dict[str, object]) -> str:
    error = answer.get("error")
    if isinstance(error, dict) and "message" in error:
        return str(error["message"])
    return _NO_REASON
