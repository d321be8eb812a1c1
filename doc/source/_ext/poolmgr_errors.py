"""The table of error codes, made from the classes themselves."""

import inspect
from collections.abc import Iterator

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

from poolmgr import errors


class Errors(Directive):
    """``poolmgr-errors``: code, whether to try again, and meaning."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        into = nodes.container()
        text = StringList(list(_table()), "poolmgr's errors")
        self.state.nested_parse(text, 0, into)
        return into.children


def _table() -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1")
    yield from ("   :widths: 25 10 65", "")
    yield from ("   * - code", "     - retryable", "     - meaning")
    for error in _classes():
        # What follows the first paragraph is for programmers.
        meaning = (inspect.getdoc(error) or "").partition("\n\n")[0]
        yield f"   * - ``{error.code}``"
        yield f"     - {'yes' if error.retryable else 'no'}"
        yield f"     - {' '.join(meaning.split())}"
    yield ""


def _classes() -> Iterator[type[errors.PoolmgrError]]:
    """All kinds of errors, in the order of the source."""
    for found in vars(errors).values():
        if inspect.isclass(found) and issubclass(found, errors.PoolmgrError):
            yield found


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx."""
    app.add_directive("poolmgr-errors", Errors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
