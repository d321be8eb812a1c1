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
    "sphinx_copybutton",
    "stevedore.sphinxext",
    "oslo_config.sphinxext",
    "poolmgr_commands",
    "poolmgr_diagrams",
    "poolmgr_tables",
]
graphviz_output_format = "svg"
# Literal blocks are output or commands, not Python.
highlight_language = "text"
# Help texts contain commands, whose quotes and dashes must stay as they are.
smartquotes = False
html_theme = "furo"
html_title = f"poolmgr {release}"
# The copy button leaves out prompts.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
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
