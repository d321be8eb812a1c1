"""The project's tools for checks and releases."""

import gzip
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.blocks import pages
from tools import audit, dist

ROOT = Path(__file__).parent.parent
DEV = (ROOT / "dev").read_text()


def pack(mtime: int, mode: int, owner: str, *names: str) -> bytes:
    """Create a tar.gz of small files."""
    result = io.BytesIO()
    with gzip.GzipFile("some.tar", "wb", fileobj=result, mtime=mtime) as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(name), mode
                member.mtime, member.uname = mtime, owner
                archive.addfile(member, io.BytesIO(name.encode()))
    return result.getvalue()


def test_archives_are_reproducible() -> None:
    one = pack(1_000_000_000, 0o644, "root", "p/a", "p/b")
    other = pack(1_100_000_000, 0o600, "somebody", "p/b", "p/a")
    assert one != other

    normalized = dist.normalized(one, 1_200_000_000)

    assert normalized == dist.normalized(other, 1_200_000_000)
    with tarfile.open(fileobj=io.BytesIO(normalized)) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            assert file.read() == member.name.encode()
            assert (member.mtime, member.mode) == (1_200_000_000, 0o644)


def test_archives_keep_the_executable_bit() -> None:
    archived = dist.normalized(pack(1, 0o700, "me", "p/run"), 2)

    with tarfile.open(fileobj=io.BytesIO(archived)) as archive:
        assert archive.getmember("p/run").mode == 0o755


def test_requirements_are_resolved_recursively() -> None:
    lines = audit.needed("poolmgr", set())
    names = {line.partition("==")[0] for line in lines}

    assert {"openstacksdk", "cliff", "keystoneauth1", "requests"} <= names
    assert not {"pytest", "hypothesis", "ruff"} & names


@pytest.mark.parametrize(
    ("dependencies", "lines", "audited"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], [], 1),
        ([{"name": "a", "skip_reason": "not found on PyPI"}], [], 0),
        (
            [
                {
                    "name": "a",
                    "version": "1",
                    "vulns": [{"id": "CVE-1", "fix_versions": ["2", "1.1"]}],
                },
                {"name": "b", "version": "3", "vulns": []},
            ],
            ["a 1: CVE-1, fixed in 2, 1.1"],
            2,
        ),
    ],
)
def test_findings_of_other_packages_are_ignored(
    dependencies: list[dict[str, Any]], lines: list[str], audited: int
) -> None:
    assert audit.findings({"dependencies": dependencies}) == (lines, audited)


@pytest.mark.parametrize(
    ("answer", "output", "code"),
    [
        (
            '{"dependencies": [{"name": "a", "version": "1", "vulns": '
            '[{"id": "CVE-1", "fix_versions": []}]}]}',
            "a 1: CVE-1, fixed in no version",
            1,
        ),
        (
            '{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}',
            "0 findings in 1 of",
            0,
        ),
        ('{"dependencies": [{"name": "a"}]}', "not audited: the index", 0),
        ("", "not audited: the service is down", 0),
    ],
)
def test_only_findings_fail_the_audit(
    answer: str, output: str, code: int, tmp_path: Path
) -> None:
    """A fake pip-audit gives the answers."""
    (tmp_path / "pip_audit.py").write_text(
        "import sys\n"
        f"print({answer!r})\n"
        "print('the service is down', file=sys.stderr)\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "tools.audit"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=False,
    )

    assert output in done.stdout
    assert done.returncode == code, done.stderr


def test_commit_hooks_are_checks_of_dev() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    (repo,) = yaml.safe_load(text)["repos"]

    assert repo["repo"] == "local"
    for hook in repo["hooks"]:
        assert hook["language"] == "system"
        assert commands_in(hook["entry"]) <= commands_of_dev()


def test_documented_dev_commands_exist() -> None:
    text = "".join(page.read_text() for page in pages())

    assert len(commands_in(text)) > 8
    assert commands_in(text) <= commands_of_dev()


def commands_in(text: str) -> set[str]:
    return set(re.findall(r"\./dev ([a-z]+)", text))


def commands_of_dev() -> set[str]:
    """Return the commands of the case statement in ./dev."""
    patterns = re.findall(r"^([a-z |]+)\)$", DEV, re.MULTILINE)
    return {name.strip() for each in patterns for name in each.split("|")}
