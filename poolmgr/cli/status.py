"""``poolmgr status`` and ``health``: the state of job servers and worker."""

import argparse
import signal
from http.client import HTTPConnection, HTTPException

from poolmgr.cli.app import Stream
from poolmgr.cli.base import PoolmgrCommand, PoolmgrLister, Row, Table
from poolmgr.cli.usage import UsageError, seconds
from poolmgr.errors import PoolmgrError, TransportError
from poolmgr.gearman import admin
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.settings.gearman import with_advice
from poolmgr.text import one_line
from poolmgr.worker.signals import Interrupted, handle

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
        """Add the choice between queues and workers."""
        what = parser.add_mutually_exclusive_group()
        workers = "show the workers instead of the queues"
        what.add_argument("--workers", action="store_true", help=workers)
        watch = "refresh the view until Ctrl-C or q; shows how queues grow"
        what.add_argument("--watch", action="store_true", help=watch)
        every = "time between two updates of --watch (default: 2)"
        add, name = parser.add_argument, "SECONDS"
        add("--interval", type=seconds, metavar=name, help=every)

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Print the table, or show the view of ``--watch``."""
        if not parsed_args.watch:
            if parsed_args.interval:
                raise UsageError("--interval needs --watch")
            return super().run(parsed_args)
        if parsed_args.formatter != "table" or parsed_args.columns:
            raise UsageError("--watch cannot be used with -f or -c")
        from poolmgr.cli.watch import watch

        out = self.app.stdout
        assert isinstance(out, Stream)  # noqa: S101 - main() has replaced it
        view = watch(out, *self._servers(), parsed_args.interval or 2.0)
        try:
            self.app.interruption.run(view)
        except Interrupted as interrupted:
            # Ctrl-C is the usual end of --watch.
            if interrupted.number != signal.SIGINT:
                raise
        return 0

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Query all servers."""
        query = _workers if parsed_args.workers else _queues
        columns = _WORKERS if parsed_args.workers else _QUEUES
        absent = {*parsed_args.columns}.difference(map(str.lower, columns))
        if absent:
            choices = f"choose from {', '.join(columns)}"
            raise UsageError(f"there is no column {min(absent)!r}; {choices}")
        servers, options = self._servers()
        rows: list[Row] = []
        for server in servers:
            try:
                rows += self.app.interruption.run(query(server, options))
            except TransportError as error:
                self.failed, self.empty = True, ""
                self.app.LOG.error("%s", with_advice(error))
        return columns, rows

    def _servers(self) -> tuple[list[Address], ConnectionOptions]:
        gearman = self.configuration.gearman()
        return gearman.addresses(), gearman.connection_options()


async def _queues(server: Address, options: ConnectionOptions) -> list[Row]:
    return [
        (str(server), f.name, f.queued - f.running, f.running, f.workers)
        for f in await admin.status(server, options)
    ]


async def _workers(server: Address, options: ConnectionOptions) -> list[Row]:
    return [
        (str(server), worker.ip, worker.client_id, " ".join(worker.functions))
        for worker in await admin.workers(server, options)
        if worker.functions
    ]


class Health(PoolmgrCommand):
    """Check the health of the worker on this machine.

    Prints the worker's health page (see [monitoring]), for container engines
    and other supervisors. The exit code is 1 if the worker is unhealthy or
    does not answer.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the choice of the check."""
        add = parser.add_argument
        ready = "check whether job servers and cloud can be reached, too"
        add("--ready", action="store_true", help=ready)
        help_, name = "time limit (default: 5)", "SECONDS"
        add("--timeout", type=seconds, default=5.0, metavar=name, help=help_)

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Fetch and print the page."""
        settings = self.configuration.monitoring()
        timeout = parsed_args.timeout
        if not settings.enabled:
            raise PoolmgrError("[monitoring] is disabled")
        if not settings.port:
            raise PoolmgrError("[monitoring] port is 0: set a fixed port")
        # http.client is imported fast, and never asks a proxy.
        page = HTTPConnection(settings.address, settings.port)
        where = one_line(str(Address(settings.address, settings.port)))
        # A socket's own time limit begins again with each byte.
        handle(_expire, signal.SIGALRM)
        signal.setitimer(signal.ITIMER_REAL, timeout)
        try:
            page.request("GET", "/readyz" if parsed_args.ready else "/healthz")
            answer = page.getresponse()
            body = answer.read(65536).decode(errors="replace")
        except TimeoutError:
            raise PoolmgrError(
                f"the worker at {where} has not answered within {timeout:g} s"
            ) from None
        except (OSError, HTTPException) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise PoolmgrError(
                f"no worker answers at {where}: {why}; is one running, with "
                "this configuration?"
            ) from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.app.stdout.write(body)
        return 0 if answer.status == 200 else 1


def _expire(_number: object) -> None:
    raise TimeoutError
