"""What the commands have in common."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from cliff.command import Command
from cliff.lister import Lister
from cliff.show import ShowOne

if TYPE_CHECKING:
    from poolmgr.cli.app import PoolmgrApp
    from poolmgr.options import Configuration

Row = Sequence[Any]
Table = tuple[Sequence[str], Iterable[Any]]


class PoolmgrCommand(Command):
    """A command of poolmgr.

    :cvar service: whether it is a service, whose log is its voice
    """

    app: "PoolmgrApp"
    service = False

    @property
    def configuration(self) -> "Configuration":
        """What the files and the global options say."""
        return self.app.configuration

    def get_epilog(self) -> str:
        """Nothing: cliff looks through every package on the machine for
        what it would say there."""
        return self._epilog or ""


class PoolmgrShowOne(PoolmgrCommand, ShowOne):
    """A command that shows one thing."""


class PoolmgrLister(PoolmgrCommand, Lister):
    """A command that shows a list."""
