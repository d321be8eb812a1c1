"""Fresh environments with poolmgr, and plugins beside it."""

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "poolmgr-rack"


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    :ivar path: its folder
    :ivar cache: a folder for caches of its own
    """

    path: Path
    cache: Path

    @property
    def poolmgr(self) -> str:
        """The command."""
        return str(self.path / "bin" / "poolmgr")

    def variables(self, beside: Path | None = None) -> dict[str, str]:
        """The process environment for its commands.

        :param beside: a folder whose packages are seen, too
        """
        variables = {**os.environ, "XDG_CACHE_HOME": str(self.cache)}
        variables.pop("PYTHONPATH", None)
        if beside is not None:
            variables["PYTHONPATH"] = str(beside)
        return variables

    def run(
        self, *args: str, beside: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``poolmgr`` with these arguments."""
        return subprocess.run(
            [self.poolmgr, *args],
            capture_output=True,
            text=True,
            timeout=60,
            env=self.variables(beside),
            stdin=subprocess.DEVNULL,
            check=False,
        )


def create(
    folder: Path, *packages: Path, extra: str | None = None
) -> Environment:
    """Make an environment and install these packages into it.

    :param extra: an extra of the last one to install, too
    """
    path = folder / "venv"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", path], check=True
    )
    copies = [str(_copied(package, folder)) for package in packages]
    if extra is not None:
        copies[-1] += f"[{extra}]"
    _pip("--python", str(path / "bin" / "python"), packages=copies)
    return Environment(path, folder / "cache")


def install_beside(folder: Path, name: str, module: str, **files: str) -> Path:
    """Install a package with one module into a folder of its own.

    :param name: the package's name
    :param module: the module's source
    :param files: entry points by group, "." as "__"
    """
    source = folder / f"{name}-source"
    source.mkdir()
    package = name.replace("-", "_")
    (source / f"{package}.py").write_text(textwrap.dedent(module))
    points = "\n".join(
        f"{group.replace('__', '.')} =\n    {point}"
        for group, point in files.items()
    )
    (source / "setup.cfg").write_text(
        f"[metadata]\nname = {name}\nversion = 1\n"
        f"[options]\npy_modules = {package}\n"
        f"[options.entry_points]\n{points}\n"
    )
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\n'
        'build-backend = "setuptools.build_meta"\n'
    )
    target = folder / name
    _pip(packages=[source], into=["--no-deps", "--target", str(target)])
    return target


def plugin_beside(
    folder: Path, source: str, modules: Mapping[str, str] = {}, **points: str
) -> Path:
    """A plugin as it looks once it is installed, without installing it.

    :param source: the source of its module, ``stranger``
    :param modules: the sources of other modules, by name
    :param points: its entry points by group, "." as "__", each a line or more
    :returns: a folder to be found by PYTHONPATH
    """
    path = folder / "stranger"
    about = path / "stranger-1.dist-info"
    about.mkdir(parents=True)
    for name, text in {**modules, "stranger": source}.items():
        (path / f"{name}.py").write_text(textwrap.dedent(text))
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: stranger\nVersion: 1\n"
    )
    (about / "entry_points.txt").write_text(
        "\n".join(
            f"[{group.replace('__', '.')}]\n{lines}\n"
            for group, lines in points.items()
        )
    )
    return path


def _copied(package: Path, folder: Path) -> Path:
    """A copy to build from: what a build leaves behind is in the next."""
    left_behind = ("build", "*.egg-info", ".*", "__pycache__")
    ignored = shutil.ignore_patterns(*left_behind)
    return Path(
        shutil.copytree(package, folder / package.name, ignore=ignored)
    )


def _pip(
    *options: str, packages: Sequence[Path | str], into: Sequence[str] = ()
) -> None:
    command = [sys.executable, "-m", "pip", *options, "install", "--quiet"]
    command += ["--disable-pip-version-check", *into, *map(str, packages)]
    subprocess.run(
        command,
        check=True,
        timeout=600,
        env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
    )
