"""Error codes, metrics and old option names, listed from the code."""

import inspect
from collections.abc import Iterator

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

from poolmgr import errors
from poolmgr.config.options import list_opts
from poolmgr.monitoring import statistics


class Generated(Directive):
    """A directive that generates its lines."""

    def run(self) -> list[nodes.Node]:
        """Parse the lines."""
        into = nodes.container()
        text = StringList([*self.lines(), ""], self.name)
        self.state.nested_parse(text, 0, into)
        return into.children

    def lines(self) -> Iterator[str]:
        """Return the text in reStructuredText."""
        raise NotImplementedError


class Errors(Generated):
    """``poolmgr-errors``: code, whether to retry, and meaning."""

    def lines(self) -> Iterator[str]:
        """Return a table."""
        yield from (".. list-table::", "   :header-rows: 1")
        yield from ("   :widths: 25 10 65", "")
        yield from _row("code", "retryable", "meaning")
        for error in _errors():
            # Only the first paragraph is for operators.
            meaning = (inspect.getdoc(error) or "").partition("\n\n")[0]
            retryable = "yes" if error.retryable else "no"
            code, meaning = f"``{error.code}``", " ".join(meaning.split())
            yield from _row(code, retryable, meaning)


class Metrics(Generated):
    """``poolmgr-metrics``: name, kind, labels and help of each."""

    def lines(self) -> Iterator[str]:
        """Return a definition list."""
        for kind, metrics in (
            ("counter", statistics.COUNTERS),
            ("histogram", statistics.HISTOGRAMS),
            ("gauge", statistics.GAUGES),
        ):
            for name, help_ in metrics.items():
                labels = statistics.LABELS.get(name, ())
                shown = ", ".join(f"``{label}``" for label in labels)
                yield f"``{name}{'_total' if kind == 'counter' else ''}``"
                yield f"   {'; '.join(filter(None, (kind, shown)))}. {help_}"


class OldOptions(Generated):
    """``poolmgr-old-options``: names in libra.cfg, and present ones."""

    def lines(self) -> Iterator[str]:
        """Return a table."""
        yield from (".. list-table::", "   :header-rows: 1", "")
        yield from _row("``libra.cfg``", "``poolmgr.conf``")
        for group, options in list_opts():
            for option in options:
                for old in option.deprecated_opts:
                    now = f"``[{group}] {option.name}``"
                    yield from _row(f"``[{old.group}] {old.name}``", now)


def _errors() -> Iterator[type[errors.PoolmgrError]]:
    """Return all error classes in the order of the source."""
    for found in vars(errors).values():
        if inspect.isclass(found) and issubclass(found, errors.PoolmgrError):
            yield found


def _row(first: str, *others: str) -> Iterator[str]:
    yield f"   * - {first}"
    for cell in others:
        yield f"     - {cell}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("poolmgr-errors", Errors)
    app.add_directive("poolmgr-metrics", Metrics)
    app.add_directive("poolmgr-old-options", OldOptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
