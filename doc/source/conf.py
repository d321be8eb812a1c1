"""Sphinx's settings."""

import importlib.metadata
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "_ext"))

project = "poolmgr"
copyright = "The poolmgr developers"
release = importlib.metadata.version("poolmgr")
extensions = [
    "sphinx.ext.autodoc",
    "stevedore.sphinxext",
    "oslo_config.sphinxext",
    "poolmgr_commands",
    "poolmgr_diagrams",
    "poolmgr_errors",
]
graphviz_output_format = "svg"
# What follows "::" is what is printed, or a command: no Python.
highlight_language = "text"
html_theme = "alabaster"
html_theme_options = {
    "description": "Pool Manager of Libra",
    # So that the tables of commands fit.
    "page_width": "1240px",
    "body_max_width": "none",
}
html_static_path = ["_static"]
html_css_files = ["poolmgr.css"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
nitpicky = False
man_pages = [
    (
        "commands",
        "poolmgr",
        "Pool Manager of Libra, the OpenStack load-balancer service",
        ["The poolmgr developers"],
        1,
    )
]
