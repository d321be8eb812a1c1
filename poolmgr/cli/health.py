"""``poolmgr health``."""

import argparse
import http.client
import ipaddress

from poolmgr.cli.base import PoolmgrCommand
from poolmgr.cli.options import seconds
from poolmgr.errors import PoolmgrError
from poolmgr.text import one_line


class Unhealthy(PoolmgrError):
    """The worker did not say how it is."""

    code = "unhealthy"


class Health(PoolmgrCommand):
    """Ask the worker on this machine whether it is well.

    For a container's engine and other supervisors: it asks the page that
    [monitoring] says, and prints what that answers. The exit code is 1 if the
    worker is not well, or does not answer.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """What to ask."""
        parser.add_argument(
            "--ready",
            action="store_true",
            help="ask whether it is of use, too: registered with a job "
            "server, with a cloud that answers",
        )
        parser.add_argument(
            "--timeout",
            type=seconds(0.1, 3600),
            default=5.0,
            metavar="SECONDS",
            help="how long it may take to answer (default: 5)",
        )

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Ask it."""
        settings = self.configuration.monitoring()
        if not settings.enabled:
            raise Unhealthy(
                "there is nothing to ask: [monitoring] enabled is false"
            )
        if not settings.port:
            raise Unhealthy(
                "there is no telling where to ask: [monitoring] port is 0"
            )
        path = "/readyz" if parsed_args.ready else "/healthz"
        host, timeout = _own(settings.address), parsed_args.timeout
        where = one_line(f"[{host}]" if ":" in host else host)
        where += f":{settings.port}"
        connection = http.client.HTTPConnection(host, settings.port, timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read(65536).decode(errors="replace")
        except TimeoutError:
            raise Unhealthy(
                f"the worker at {where} has not answered within {timeout:g} s"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise Unhealthy(
                f"no worker answers at {where}: {one_line(why)}; is one "
                "running, with this configuration?"
            ) from None
        finally:
            connection.close()
        self.app.stdout.write(body)
        return 0 if answer.status == 200 else 1


def _own(address: str) -> str:
    """An address of this machine by which one that is listened on is
    reached."""
    try:
        listened = ipaddress.ip_address(address)
    except ValueError:
        return address
    if listened.is_unspecified:
        return "127.0.0.1" if listened.version == 4 else "::1"
    return address
