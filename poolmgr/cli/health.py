"""``poolmgr health``."""

import argparse
import http.client

from poolmgr.cli.base import PoolmgrCommand
from poolmgr.cli.options import seconds
from poolmgr.errors import PoolmgrError
from poolmgr.text import one_line


class Health(PoolmgrCommand):
    """Check the health of the worker on this machine.

    For container engines and other supervisors: asks the worker's health page
    (see [monitoring]) and prints the answer. The exit code is 1 if the worker
    is unhealthy or does not answer.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """What to ask."""
        parser.add_argument(
            "--ready",
            action="store_true",
            help="also require that it is registered with a job server and "
            "that its cloud answers",
        )
        parser.add_argument(
            "--timeout",
            type=seconds,
            default=5.0,
            metavar="SECONDS",
            help="longest wait for the answer (default: 5)",
        )

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Ask it."""
        settings = self.configuration.monitoring()
        if not settings.enabled:
            raise PoolmgrError("[monitoring] is disabled")
        if not settings.port:
            raise PoolmgrError("[monitoring] port is 0: set a fixed port")
        path = "/readyz" if parsed_args.ready else "/healthz"
        host, timeout = settings.address, parsed_args.timeout
        where = one_line(f"[{host}]" if ":" in host else host)
        where += f":{settings.port}"
        connection = http.client.HTTPConnection(host, settings.port, timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read(65536).decode(errors="replace")
        except TimeoutError:
            raise PoolmgrError(
                f"the worker at {where} has not answered within {timeout:g} s"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise PoolmgrError(
                f"no worker answers at {where}: {one_line(why)}; is one "
                "running, with this configuration?"
            ) from None
        finally:
            connection.close()
        self.app.stdout.write(body)
        return 0 if answer.status == 200 else 1
