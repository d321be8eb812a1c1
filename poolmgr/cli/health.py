"""``poolmgr health``."""

import argparse
import http.client
import ipaddress

from poolmgr.cli.arguments import seconds
from poolmgr.cli.base import PoolmgrCommand
from poolmgr.errors import PoolmgrError
from poolmgr.settings import MonitoringSettings
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

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """What to ask."""
        parser = super().get_parser(prog_name)
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
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Ask it."""
        path = "/readyz" if parsed_args.ready else "/healthz"
        settings = self.configuration.monitoring()
        status, body = _asked(settings, path, parsed_args.timeout)
        self.app.stdout.write(body)
        return 0 if status == 200 else 1


def _asked(
    settings: MonitoringSettings, path: str, timeout: float
) -> tuple[int, str]:
    """The status and the text of a page.

    :raises Unhealthy: there is none
    """
    if not settings.enabled:
        raise Unhealthy(
            "there is nothing to ask: [monitoring] enabled is false"
        )
    if not settings.port:
        raise Unhealthy(
            "there is no telling where to ask: [monitoring] port is 0"
        )
    host = _own(settings.address)
    shown = f"[{host}]" if ":" in host else host
    where = one_line(f"{shown}:{settings.port}")
    connection = http.client.HTTPConnection(host, settings.port, timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(65536).decode(errors="replace")
    except TimeoutError:
        raise Unhealthy(
            f"the worker at {where} has not answered within {timeout:g} s"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise Unhealthy(
            f"no worker answers at {where}: {one_line(why)}; is one running, "
            "with this configuration?"
        ) from None
    finally:
        connection.close()


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
