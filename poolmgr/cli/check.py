"""``poolmgr check`` and ``poolmgr health``, and what a worker checks before
it starts."""

import argparse
import http.client
import ipaddress
from contextlib import suppress

from poolmgr.cli.base import PoolmgrCommand, PoolmgrLister, Table
from poolmgr.cli.options import seconds
from poolmgr.config.job_servers import connection_options
from poolmgr.config.options import Configuration
from poolmgr.config.remarks import log_remarks
from poolmgr.errors import ConfigError, PoolmgrError
from poolmgr.jobs.manager import action_plugins, driver_plugins
from poolmgr.text import one_line
from poolmgr.worker.service import load_actions


class Check(PoolmgrLister):
    """Check the driver's settings against the cloud.

    Shows what each was found to be. The exit code is 1 if anything is wrong
    with one of them; a worker does not start then.
    """

    columns = ("Setting", "Value", "Found", "State", "Problem")
    spare = ("Found",)
    empty = ""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Ask the cloud."""
        conf = self.configuration
        require_usable(conf)
        longest = conf.pool().short_timeout
        with self.open_cloud() as cloud:
            found = cloud.check(longest)
        if not found:
            name = one_line(conf.driver_name())
            self.app.LOG.warning("the driver %r has nothing to check", name)
        self.failed = any(finding.problem for finding in found)
        return (
            self.columns,
            [
                (
                    finding.setting,
                    one_line(finding.value),
                    one_line(finding.found),
                    "wrong" if finding.problem else "ok",
                    one_line(finding.problem or ""),
                )
                for finding in found
            ],
        )


def require_usable(conf: Configuration) -> None:
    """Go on only with values that can be used, and plugins that fit together;
    log what has no effect, and secrets that everybody can read.

    ``check`` passes when a worker would start.

    :raises ConfigError: in one line, which value is wrong
    :raises PluginError: the driver cannot be loaded, or two actions share a
        name
    """
    drivers = driver_plugins()
    with suppress(ConfigError):  # it is told below, with all others
        log_remarks(conf, drivers)
    conf.require_values(drivers)
    connection_options(conf.gearman())
    load_actions(action_plugins())


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
