"""Tests of the container image, without a container engine."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.timeout(1200)


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage with their values."""
    with (ROOT / "Containerfile").open("rb") as file:
        structure = DockerfileParser(fileobj=file).structure
    result: list[list[tuple[str, str]]] = []
    for each in structure:
        if each["instruction"] == "FROM":
            result.append([])
        if each["instruction"] != "COMMENT":
            result[-1].append((each["instruction"], each["value"]))
    return result


def only(stage: list[tuple[str, str]], instruction: str) -> str:
    (value,) = (value for what, value in stage if what == instruction)
    return value


def test_the_image_runs_an_unprivileged_worker_that_drains() -> None:
    _builder, image = stages()

    assert json.loads(only(image, "ENTRYPOINT")) == ["poolmgr"]
    assert json.loads(only(image, "CMD")) == ["worker"]
    assert only(image, "STOPSIGNAL") == "SIGTERM"
    user, _, group = only(image, "USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert f"--uid {user} --gid {group}" in only(image, "RUN")


def test_the_image_contains_no_credentials() -> None:
    for stage in stages():
        assert not [value for what, value in stage if what == "ARG"]
        for what, value in stage:
            if what == "ENV":
                assert not re.search(r"\bOS_|PASS|TOKEN|SECRET", value, re.I)


@pytest.mark.packages
def test_the_copied_files_suffice_to_build_and_run(tmp_path: Path) -> None:
    builder, image = stages()
    sources = tmp_path / "src"
    sources.mkdir()
    for what, value in builder:
        if what == "COPY":
            copy(value.split(), sources)
        if what == "RUN":
            run(relocate(value, tmp_path), sources)

    (copied,) = (v.split() for w, v in image if w == "COPY")
    assert copied[:2] == ["--from=builder", copied[2]]
    poolmgr = Path(relocate(copied[2], tmp_path)) / "bin" / "poolmgr"
    assert re.match(r"poolmgr \d", run(f"{poolmgr} --version", tmp_path))
    done = subprocess.run(
        [poolmgr, *json.loads(only(image, "CMD"))],
        capture_output=True,
        text=True,
        timeout=300,
        env={"HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1
    assert "no cloud is configured" in done.stderr


def copy(names: list[str], folder: Path) -> None:
    *names, target = names
    for name in names:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / target, ignore=ignored)
        else:
            shutil.copy(source, folder / target / name)


def relocate(command: str, folder: Path) -> str:
    """Return a command with the builder's folders inside another folder."""
    return re.sub(
        r"(?<![\w.])/(opt/poolmgr|wheels|src)\b", rf"{folder}/\1", command
    )


def run(command: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
