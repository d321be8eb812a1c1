"""``poolmgr status``."""

import argparse
import asyncio
from collections.abc import Iterator

from poolmgr.cli.base import PoolmgrLister, Row, Table
from poolmgr.errors import TransportError
from poolmgr.gearman import Address, LinkOptions, admin
from poolmgr.links import addresses, link_options


class Status(PoolmgrLister):
    """Show the queues and workers of every job server.

    If a job server cannot be asked, the others are shown all the same and
    the exit code is 1.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Queues, or workers."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--workers",
            action="store_true",
            help="show the workers instead of the queues",
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Print what was told; 1 if a server was not."""
        self._failed = False
        super().run(parsed_args)
        return 1 if self._failed else 0

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Ask every server."""
        gearman = self.configuration.gearman()
        servers, options = addresses(gearman), link_options(gearman)
        if parsed_args.workers:
            columns = ["Server", "Address", "Worker", "Functions"]
            ask = _workers
        else:
            columns = ["Server", "Function", "Waiting", "Running", "Workers"]
            ask = _queues
        return columns, list(self._rows(servers, options, ask))

    def _rows(
        self, servers: list[Address], options: LinkOptions, ask: object
    ) -> Iterator[Row]:
        for server in servers:
            try:
                yield from asyncio.run(ask(server, options))  # type: ignore[operator]
            except TransportError as error:
                self._failed = True
                self.app.LOG.error(error)


async def _queues(server: Address, options: LinkOptions) -> list[Row]:
    return [
        (
            str(server),
            function.name,
            function.queued - function.running,
            function.running,
            function.workers,
        )
        for function in await admin.status(server, options)
    ]


async def _workers(server: Address, options: LinkOptions) -> list[Row]:
    return [
        (str(server), worker.ip, worker.client_id, " ".join(worker.functions))
        for worker in await admin.workers(server, options)
        if worker.functions
    ]
