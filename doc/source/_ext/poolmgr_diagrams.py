"""Reports a missing ``dot``, and how to install it.

Sphinx would only warn at the first diagram that a command failed.
"""

import shutil

from sphinx.application import Sphinx


def require_dot(app: Sphinx) -> None:
    """Stop the build if ``dot`` is missing."""
    if app.builder.format == "html" and not shutil.which("dot"):
        # Sphinx would show its own errors with a traceback.
        raise SystemExit(
            "the diagrams need dot, which is not installed; on Debian: "
            "apt-get install graphviz"
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the check."""
    app.setup_extension("sphinx.ext.graphviz")
    app.connect("builder-inited", require_dot)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
