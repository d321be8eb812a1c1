"""The commands of actions, made from the actions' own descriptions."""

import asyncio
import dataclasses
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from cliff.formatters.base import ListFormatter, SingleFormatter
from stevedore import ExtensionManager

from poolmgr.actions.base import (
    Action,
    action_plugins,
    description,
    field_from_text,
    is_required,
)
from poolmgr.cli.base import PoolmgrLister, PoolmgrShowOne, Table
from poolmgr.cli.usage import UsageError, positive
from poolmgr.drivers.verbs import close_driver
from poolmgr.errors import DeviceNotDeleted
from poolmgr.events import Outcome, RunningJob
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.jobs.run import Delivery
from poolmgr.worker.signals import Interrupted

# cliff's options have names of their own, such as "columns".
_FIELD = "field_"


class ActionCommand(PoolmgrShowOne):
    """The command of an action.

    :cvar action: the action's name
    :cvar plugin: the action's class
    """

    action: str
    plugin: type[Action[Any]]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the action's fields; required ones are positional."""
        every = self.app.parser._option_string_actions
        taken = parser._option_string_actions | every
        for field in dataclasses.fields(self.plugin.takes):
            option, dest = field.name.replace("_", "-"), _FIELD + field.name
            # Another option, such as --prefix, may have the same name.
            if f"--{option}" in taken:
                option = f"field-{option}"
            add = partial(parser.add_argument, dest)
            if not is_required(field):
                add = partial(parser.add_argument, f"--{option}", dest=dest)
            add(
                type=partial(field_from_text, self.plugin, field),
                metavar=field.name.upper(),
                help=field.metadata.get("help", "").replace("%", "%%"),
            )

    def take_action(self, parsed_args: Namespace) -> Table:
        """Run the action once; a FAIL is an error."""
        (outcome,) = self.run_jobs(parsed_args, 1)
        if outcome.error is not None:
            raise outcome.error
        answer = outcome.answer
        # A column that was asked for may be missing in the answer.
        columns = self.columns if parsed_args.columns else [*answer]
        return columns, [*map(answer.get, columns)]

    def run_jobs(self, given: Namespace, count: int) -> Sequence[Outcome]:
        """Run the action several times.

        :returns: the outcomes, in the order in which the jobs were started
        """
        message: dict[str, object] = {"action": self.action}
        for name, value in vars(given).items():
            if name.startswith(_FIELD) and value is not None:
                message[name.removeprefix(_FIELD)] = value
        # First, because its error names all options that are wrong.
        driver = self.configuration.make_driver()
        batch = Batch(message, count, self.configuration.worker().long_jobs)
        # A signal after the last job's end must not hide the answers.
        self.app.interruption.hold()
        try:
            with self.progress(batch.progress):
                manager = AsyncPoolManager(driver, self.configuration.pool())
                return self.app.interruption.run(batch.run(manager))
        except Interrupted as interrupted:
            if self.plugin.answers:
                interrupted.detail += f"; {batch.cleanup_result()}"
            raise
        finally:
            close_driver(driver)


class CountableCommand(ActionCommand, PoolmgrLister):
    """The command of an action that creates resources and has no fields.

    With ``--count`` it shows a list with a row for each job.
    """

    # The reason of a FAIL is always shown.
    spare = ("az", "type")
    _shows_list = False

    def _load_formatter_plugins(self) -> Any:
        """Load the output formats for lists, too, such as csv."""
        loaded: Any = super()._load_formatter_plugins()
        known = loaded.names()
        lists: Any = ExtensionManager("cliff.formatter.list", True)
        loaded.extensions += [f for f in lists if f.name not in known]
        return loaded

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add ``--count``."""
        help_ = "run it N times and show a row for each"
        parser.add_argument("--count", type=positive, metavar="N", help=help_)

    def take_action(self, parsed_args: Namespace) -> Table:
        """Run the action once or many times. In a list, a FAIL is a row."""
        given, formatter = parsed_args, self.formatter
        self._shows_list = (
            given.count is not None
            or "error" in given.columns
            or not isinstance(formatter, SingleFormatter)
        )
        if not self._shows_list:
            return super().take_action(given)
        if not isinstance(formatter, ListFormatter):
            raise UsageError(f"-f {given.formatter} cannot show a list")
        outcomes = self.run_jobs(given, given.count or 1)
        if failed := sum(outcome.error is not None for outcome in outcomes):
            self.failed = True
            self.app.LOG.error("%d of %d failed", failed, len(outcomes))
        answers = [{**o.answer, "error": o.reason or None} for o in outcomes]
        # "action" is the same in all rows.
        columns = self.columns if given.columns else self.columns[1:]
        return columns, [[*map(a.get, columns)] for a in answers]

    def produce_output(
        self, parsed_args: Namespace, column_names: Sequence[str], data: Any
    ) -> int:
        """Print one result or a list."""
        kind = PoolmgrLister if self._shows_list else PoolmgrShowOne
        return kind.produce_output(self, parsed_args, column_names, data)


@dataclasses.dataclass
class Batch:
    """Jobs with the same message, run in this process.

    :ivar message: the message of each job
    :ivar count: the number of jobs
    :ivar concurrency: the number of jobs that run at once
    """

    message: Mapping[str, object]
    count: int
    concurrency: int
    _deliveries: list[Delivery] = dataclasses.field(default_factory=list)
    _running: Callable[[], Sequence[RunningJob]] = list
    _is_cleaning_up = False

    async def run(self, manager: AsyncPoolManager) -> Sequence[Outcome]:
        """Run all jobs. If cancelled, undo them: nobody gets their answers.

        :returns: the outcomes, in the order in which the jobs were started
        """
        self._running, numbers = manager.running, iter(range(self.count))

        async def run_one_by_one() -> None:
            for _number in numbers:
                delivery = manager.submit(self.message)
                self._deliveries.append(delivery)
                # Unlike await, wait() does not pass a cancel on to the job.
                await asyncio.wait([delivery.future])

        concurrency = min(self.count, self.concurrency)

        try:
            async with manager:
                try:
                    await asyncio.gather(
                        *(run_one_by_one() for _ in range(concurrency))
                    )
                except asyncio.CancelledError:
                    self._is_cleaning_up = True
                    for each in self._deliveries:
                        # Also if the job passes while it is being stopped.
                        each.future.add_done_callback(partial(_undo, each))
                    await asyncio.sleep(0)  # undo jobs that have passed
                    raise
        except asyncio.CancelledError:
            # After the last job's end, its answer is shown instead.
            if self._is_cleaning_up:
                raise
        return self._outcomes()

    def cleanup_result(self) -> str:
        """Describe what is left after an interruption.

        Call it after the manager was closed.
        """
        started = f"{len(self._deliveries)} of {self.count} had started"
        left = sum(map(_is_left, self._deliveries))
        if not left:
            return f"{started}; everything created was deleted"
        return (
            f"{started}; {left} could not be deleted: see 'poolmgr device "
            "list --all' and 'poolmgr ip list --all'"
        )

    def progress(self) -> str:
        """Describe the state of the jobs in a few words."""
        if self._is_cleaning_up:
            return "cleaning up"
        doing = [each.doing for each in self._running()]
        if self.count == 1 and any(doing):
            return doing[0]
        ended = self._outcomes()
        running = len(self._deliveries) - len(ended)
        failed = sum(outcome.error is not None for outcome in ended)
        words = f"{len(ended)}/{self.count} done, {running} running"
        return f"{words}, {failed} failed" if failed else words

    def _outcomes(self) -> list[Outcome]:
        futures = [each.future for each in self._deliveries]
        return [future.result() for future in futures if future.done()]


def _undo(delivery: Delivery, _future: object) -> None:
    delivery.undo()


def _is_left(delivery: Delivery) -> bool:
    """Return whether something that a job created may still exist."""
    future = delivery.future
    if not future.done() or delivery.undo_failed:
        return True
    return isinstance(future.result().error, DeviceNotDeleted)


def command_for(action: str) -> type[ActionCommand]:
    """Make the class of an action's command.

    :raises PluginError: the action cannot be loaded
    """
    plugin = action_plugins().load(action)
    fields = [field.name for field in dataclasses.fields(plugin.takes)]
    is_countable = plugin.answers and not fields
    columns = ["action", *fields, *plugin.answers, "response"]
    attributes: dict[str, Any] = {
        "__doc__": description(plugin),
        "action": action,
        "plugin": plugin,
        "columns": [*columns, "error"] if is_countable else columns,
    }
    if plugin.answers:
        attributes["_epilog"] = f"Returns {', '.join(plugin.answers)}."
    base = CountableCommand if is_countable else ActionCommand
    return type(base.__name__, (base,), attributes)
