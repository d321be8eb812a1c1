"""The list of metrics, made from the worker's own."""

from collections.abc import Iterator

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

from poolmgr.monitoring import statistics

_KINDS = (
    ("counter", statistics.COUNTERS),
    ("histogram", statistics.HISTOGRAMS),
    ("gauge", statistics.GAUGES),
)


class Metrics(Directive):
    """``poolmgr-metrics``: name, kind, labels and help of each."""

    def run(self) -> list[nodes.Node]:
        """Make the list."""
        into = nodes.container()
        text = StringList(list(_definitions()), "poolmgr's metrics")
        self.state.nested_parse(text, 0, into)
        return into.children


def _definitions() -> Iterator[str]:
    for kind, metrics in _KINDS:
        for name, help_ in metrics.items():
            labels = statistics.LABELS.get(name, ())
            shown = ", ".join(f"``{label}``" for label in labels)
            yield f"``{name}{'_total' if kind == 'counter' else ''}``"
            yield f"   {'; '.join(filter(None, (kind, shown)))}. {help_}"
    yield ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx."""
    app.add_directive("poolmgr-metrics", Metrics)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
