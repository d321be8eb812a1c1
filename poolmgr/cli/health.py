"""``poolmgr health``."""

import argparse
from http.client import HTTPConnection, HTTPException

from poolmgr.cli.base import PoolmgrCommand
from poolmgr.cli.options import seconds
from poolmgr.errors import PoolmgrError
from poolmgr.text import one_line


class Health(PoolmgrCommand):
    """Check the health of the worker on this machine.

    Prints the worker's health page (see [monitoring]), for container engines
    and other supervisors. The exit code is 1 if the worker is unhealthy or
    does not answer.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """What to ask."""
        add = parser.add_argument
        ready = "check whether job servers and cloud can be reached, too"
        add("--ready", action="store_true", help=ready)
        help_, name = "time limit (default: 5)", "SECONDS"
        add("--timeout", type=seconds, default=5.0, metavar=name, help=help_)

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Ask it."""
        settings = self.configuration.monitoring()
        if not settings.enabled:
            raise PoolmgrError("[monitoring] is disabled")
        if not settings.port:
            raise PoolmgrError("[monitoring] port is 0: set a fixed port")
        host, timeout = settings.address, parsed_args.timeout
        page = HTTPConnection(host, settings.port, timeout)
        where = f"[{host}]" if ":" in host else host
        where = one_line(f"{where}:{settings.port}")
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
        self.app.stdout.write(body)
        return 0 if answer.status == 200 else 1
