"""Directives that document commands and options, made from the parsers.

cliff's own directive omits the commands of actions, and repeats the output
options with every command.
"""

import argparse
import os
from collections.abc import Iterable, Iterator

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

from poolmgr.cli.app import PoolmgrApp

#: Commands whose output options stand for those of all.
_LIST, _ONE = "plugin list", "ip show"


class Commands(Directive):
    """``poolmgr-commands``: a section for every command."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        app = PoolmgrApp()
        made: list[nodes.Node] = []
        for name in sorted(app.command_manager.commands):
            section = nodes.section(
                "",
                nodes.title(text=name),
                ids=[nodes.make_id(f"poolmgr-{name}")],
                names=[nodes.fully_normalize_name(f"poolmgr {name}")],
            )
            self._parse(_command(parser_of(app, name)), section)
            made.append(section)
        return made

    def _parse(self, lines: Iterable[str], into: nodes.Element) -> None:
        text = StringList(list(lines), "poolmgr's parsers")
        self.state.nested_parse(text, 0, into)


class Options(Commands):
    """``poolmgr-options``: the options before the command."""

    def run(self) -> list[nodes.Node]:
        """Return the list."""
        return self._made([".. program:: poolmgr", "", *self._lines()])

    def _lines(self) -> Iterator[str]:
        yield from _options(PoolmgrApp().parser._actions)

    def _made(self, lines: Iterable[str]) -> list[nodes.Node]:
        into = nodes.container()
        self._parse(lines, into)
        return into.children


class OutputOptions(Options):
    """``poolmgr-output-options``: the options of commands that show data."""

    def _lines(self) -> Iterator[str]:
        app = PoolmgrApp()
        seen: dict[str, argparse.Action] = {}
        for name in (_LIST, _ONE):
            parser = parser_of(app, name)
            for action in parser._actions:
                if _is_shown(action) and action not in _own(parser):
                    seen.setdefault(action.option_strings[-1], action)
        yield from _options(seen.values())


def parser_of(app: PoolmgrApp, name: str) -> argparse.ArgumentParser:
    """Return the parser of a command."""
    factory, found, _rest = app.command_manager.find_command(name.split())
    command = factory(app, None, cmd_name=found)
    return command.get_parser(f"poolmgr {name}")


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    own = _own(parser)
    yield from _described(parser.description)
    yield f".. program:: {parser.prog}"
    yield ""
    yield "::"
    yield ""
    for line in _usage(parser, own):
        yield f"   {line}"
    yield ""
    yield from _options(own)
    yield from _described(parser.epilog)


def _own(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return a command's own arguments, without output options."""
    groups = (parser._positionals, parser._optionals)
    own = [action for group in groups for action in group._group_actions]
    return [action for action in own if _is_shown(action)]


def _is_shown(action: argparse.Action) -> bool:
    """Return whether an argument is specific to its command."""
    is_help = isinstance(action, argparse._HelpAction)
    return not is_help and action.help is not argparse.SUPPRESS


def _usage(
    parser: argparse.ArgumentParser, own: list[argparse.Action]
) -> list[str]:
    os.environ["COLUMNS"] = "76"
    short = argparse.ArgumentParser(parser.prog, add_help=False)
    short._actions = own
    short._mutually_exclusive_groups = [
        group
        for group in parser._mutually_exclusive_groups
        if all(action in own for action in group._group_actions)
    ]
    text = short.format_usage().removeprefix("usage: ")
    first, *rest = text.splitlines()
    return [first, *(f"    {line.strip()}" for line in rest)]


def _options(actions: Iterable[argparse.Action]) -> Iterator[str]:
    for action in actions:
        names = action.option_strings or [str(action.metavar or action.dest)]
        value = "" if action.nargs == 0 else _value(action)
        shown = value if action.option_strings else ""
        signature = ", ".join(f"{name}{shown}" for name in names)
        yield f".. option:: {signature}"
        yield ""
        help_ = action.help or ""
        help_ = help_.replace("%(default)s", str(action.default))
        yield "   " + _escaped(help_.replace("%%", "%"))
        yield ""


def _value(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return f" {action.metavar.strip('<>')}"
    if action.choices:
        return f" {'|'.join(map(str, action.choices))}"
    return f" {action.dest.upper()}"


def _described(text: str | None) -> Iterator[str]:
    yield from map(_escaped, (text or "").splitlines())
    yield ""


def _escaped(text: str) -> str:
    """Escape markup."""
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("|", "\\|")


def _drop_links(app: Sphinx, document: nodes.document, _name: str) -> None:
    """Turn links to other pages into text in the manual page.

    Such a link has no address, for which docutils would write "<>".
    """
    if app.builder.name == "man":
        for link in document.findall(nodes.reference):
            if not link.get("refuri"):
                link.attributes.pop("refuri", None)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.connect("doctree-resolved", _drop_links)
    app.add_directive("poolmgr-commands", Commands)
    app.add_directive("poolmgr-options", Options)
    app.add_directive("poolmgr-output-options", OutputOptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
