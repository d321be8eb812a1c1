"""Says what is missing where diagrams cannot be drawn.

Sphinx would warn of a command that cannot be run, for the first diagram.
"""

import shutil

from sphinx.application import Sphinx


def require_dot(app: Sphinx) -> None:
    """End the build of pages if there is no ``dot``."""
    if app.builder.format == "html" and not shutil.which("dot"):
        # An error of Sphinx's would come with a traceback.
        raise SystemExit(
            "the diagrams need dot, which is not installed; on Debian: "
            "apt-get install graphviz"
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx."""
    app.setup_extension("sphinx.ext.graphviz")
    app.connect("builder-inited", require_dot)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
