"""``poolmgr submit``."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from poolmgr.cli.base import PoolmgrShowOne, Table, seconds
from poolmgr.cli.progress import elapsed, progress
from poolmgr.config.job_servers import addresses, link_options, with_advice
from poolmgr.errors import PoolmgrError, TransportError
from poolmgr.gearman import Client, SubmittedJob
from poolmgr.worker.signals import Interrupted


class Submit(PoolmgrShowOne):
    """Send a message to the job servers and print the answer.

    The message is sent as it is.  If the answer is a FAIL, it is printed all
    the same and the exit code is 1.
    """

    @property
    def formatter_default(self) -> str:
        """An answer is JSON."""
        return "json"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The message, and how to send it."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "message",
            metavar="MESSAGE",
            help="""the message, like '{"action": "BUILD_DEVICE"}', or - """
            "to read it from standard input",
        )
        waits = parser.add_mutually_exclusive_group()
        waits.add_argument(
            "--wait",
            action="store_false",
            dest="background",
            default=False,
            help="wait for the answer and print it (the default)",
        )
        waits.add_argument(
            "--no-wait",
            "--background",
            action="store_true",
            dest="background",
            help="do not wait for the answer, which nobody gets then; print "
            "the job's handle",
        )
        parser.add_argument(
            "--timeout",
            type=seconds,
            default=None,
            metavar="SECONDS",
            help="how long it may take in all, connecting included (default: "
            "for ever)",
        )
        parser.add_argument(
            "--priority",
            choices=("low", "normal", "high"),
            default="normal",
            help="how soon its job server hands it out (default: normal)",
        )
        parser.add_argument(
            "--unique", help="the job's unique (default: a new uuid)"
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Print the answer; a FAIL is exit code 1."""
        self._failure: str | None = None
        super().run(parsed_args)
        if self._failure is None:
            return 0
        self.app.LOG.error(self._failure)
        return 1

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Send it, and wait for the answer."""
        message = parsed_args.message
        payload = (
            sys.stdin.buffer.read() if message == "-" else message.encode()
        )
        self._job: SubmittedJob | None = None
        with progress(self.app.stderr, self._line, self.quiet):
            answer = self._answer(payload, parsed_args)
        if answer.get("response") == "FAIL":
            self._failure = _reason(answer)
        return self.dict2columns(answer)

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Sequence[Any],
    ) -> int:
        """Print it; a FAIL need not have what ``-c`` names."""
        if self._failure is not None and parsed_args.columns:
            wanted = {*parsed_args.columns}
            if not wanted & {*column_names}:
                return 0
        return super().produce_output(parsed_args, column_names, data)

    def _answer(
        self, payload: bytes, options: argparse.Namespace
    ) -> dict[str, object]:
        gearman = self.configuration.gearman()
        servers, links = addresses(gearman), link_options(gearman)
        if options.timeout is not None:
            # Each server has its share: the next one may answer.
            share = options.timeout / len(servers)
            links = replace(
                links, connect_timeout=min(links.connect_timeout, share)
            )
        client = Client(servers, links)
        sending = asyncio.wait_for(
            self._send(client, payload, options), options.timeout
        )
        try:
            return self.app.interruption.run(sending)
        except TimeoutError:
            where = ", ".join(map(str, servers))
            raise TransportError(
                f"no answer within {options.timeout:g} s from {where}"
                if self._job is None
                else f"job {self._job.handle}: no answer within "
                f"{options.timeout:g} s"
            ) from None
        except Interrupted as interrupted:
            if self._job is not None:
                interrupted.said += (
                    f"; job {self._job.handle} was not waited for"
                )
            raise

    async def _send(
        self, client: Client, payload: bytes, options: argparse.Namespace
    ) -> dict[str, object]:
        function = self.configuration.worker().function
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(client)
            except TransportError as error:
                raise TransportError(with_advice(error)) from error
            job = await client.submit(
                function,
                payload,
                unique=options.unique,
                background=options.background,
                priority=options.priority,
            )
            self._job = job
            if options.background:
                return {"handle": job.handle}
            answer = await job.result()
        return _decoded(answer)

    def _line(self, columns: int, seconds: float) -> str:
        job = self._job
        if job is None:
            return f"submit: connecting, {elapsed(seconds)}"
        far = "{} of {}, ".format(*job.progress) if job.progress else ""
        far += elapsed(seconds)
        line = f"submit: {job.handle} has no answer yet, {far}"
        return (
            line if len(line) <= columns else f"submit: no answer yet, {far}"
        )


def _decoded(answer: bytes) -> dict[str, object]:
    try:
        decoded = json.loads(answer)
        if isinstance(decoded, dict):
            return decoded
    except ValueError:
        pass
    raise PoolmgrError(f"the answer is not a JSON object: {answer[:200]!r}")


def _reason(answer: dict[str, object]) -> str:
    error = answer.get("error")
    if isinstance(error, dict) and "message" in error:
        return str(error["message"])
    return (
        "the answer is a FAIL; the worker's log has the reason, and answers "
        "with [poolmgr] explain_failures have it, too"
    )
