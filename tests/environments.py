"""Plugin packages as they look when installed.

PYTHONPATH makes them visible. tests/docs/test_tutorial.py installs the example
package with pip.
"""

import os
import shutil
import textwrap
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "poolmgr-rack"


def install_beside(
    folder: Path,
    name: str,
    module: str,
    modules: Mapping[str, str] = {},
    **points: str,
) -> Path:
    """Install a package into its own folder.

    :param name: the package's name, and that of its module
    :param module: the module's source
    :param modules: the sources of other modules, by name
    :param points: its entry points by group, with "__" for "."
    :returns: the folder
    """
    target = folder / name
    own = name.replace("-", "_")
    target.mkdir()
    for each, text in {**modules, own: module}.items():
        (target / f"{each}.py").write_text(textwrap.dedent(text))
    groups = {k.replace("__", "."): lines for k, lines in points.items()}
    _describe(target, name, "1", groups)
    return target


def plugin_beside(
    folder: Path, source: str, modules: Mapping[str, str] = {}, **points: str
) -> Path:
    """Install a package with the module ``stranger`` into its own folder."""
    return install_beside(folder, "stranger", source, modules, **points)


def example_beside(folder: Path) -> Path:
    """Install the example package into its own folder."""
    target = folder / EXAMPLE.name
    config = ConfigParser()
    config.read(EXAMPLE / "setup.cfg")
    module = config["options"]["packages"]
    shutil.copytree(EXAMPLE / module, target / module)
    about = config["metadata"]
    groups = config["options.entry_points"]
    _describe(target, about["name"], about["version"], groups)
    return target


def visible(*folders: Path) -> dict[str, str]:
    """Return the environment that makes installed packages visible."""
    before = os.environ.get("PYTHONPATH")
    paths = [*map(str, folders), *filter(None, [before])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def _describe(
    target: Path, name: str, version: str, groups: Mapping[str, str]
) -> None:
    about = target / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    )
    (about / "entry_points.txt").write_text(
        "\n".join(f"[{group}]\n{lines}\n" for group, lines in groups.items())
    )
