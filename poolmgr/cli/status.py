"""``poolmgr status``."""

import argparse

from poolmgr.cli.base import PoolmgrLister, Row, Table
from poolmgr.cli.options import seconds
from poolmgr.cli.usage import UsageError
from poolmgr.errors import TransportError
from poolmgr.gearman import Address, ConnectionOptions, admin
from poolmgr.settings.gearman import with_advice

_QUEUES = ("Server", "Function", "Waiting", "Running", "Workers")
_WORKERS = ("Server", "Address", "Worker", "Functions")


class Status(PoolmgrLister):
    """Show the queues and workers of every job server.

    If a job server does not answer, the others are shown and the exit code
    is 1.
    """

    columns = tuple(dict.fromkeys(_QUEUES + _WORKERS))
    empty = "no worker is connected to these job servers"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Queues, or workers."""
        what = parser.add_mutually_exclusive_group()
        workers = "show the workers instead of the queues"
        what.add_argument("--workers", action="store_true", help=workers)
        watch = "refresh the view until Ctrl-C or q; shows how queues grow"
        what.add_argument("--watch", action="store_true", help=watch)
        every = "time between two updates of --watch (default: 2)"
        add, name = parser.add_argument, "SECONDS"
        add("--interval", type=seconds, default=2.0, metavar=name, help=every)

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Print what was told; 1 if a server was not."""
        if not parsed_args.watch:
            return super().run(parsed_args)
        if parsed_args.formatter != "table" or parsed_args.columns:
            raise UsageError("--watch cannot be used with -f or -c")
        from poolmgr.cli.watch import watch

        return watch(self.app, *self._servers(), parsed_args.interval)

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Ask every server."""
        workers = parsed_args.workers
        servers, options = self._servers()
        rows: list[Row] = []
        for server in servers:
            asking = (_workers if workers else _queues)(server, options)
            try:
                rows += self.app.interruption.run(asking)
            except TransportError as error:
                self.failed, self.empty = True, ""
                self.app.LOG.error("%s", with_advice(error))
        return _WORKERS if workers else _QUEUES, rows

    def _servers(self) -> tuple[list[Address], ConnectionOptions]:
        gearman = self.configuration.gearman()
        return gearman.addresses(), gearman.connection_options()


async def _queues(server: Address, options: ConnectionOptions) -> list[Row]:
    rows: list[Row] = []
    for each in await admin.status(server, options):
        numbers = each.queued - each.running, each.running, each.workers
        rows.append((str(server), each.name, *numbers))
    return rows


async def _workers(server: Address, options: ConnectionOptions) -> list[Row]:
    return [
        (str(server), worker.ip, worker.client_id, " ".join(worker.functions))
        for worker in await admin.workers(server, options)
        if worker.functions
    ]
