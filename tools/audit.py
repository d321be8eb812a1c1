"""Asks whether what poolmgr needs has known vulnerabilities.

``python -m tools.audit``: those of the packages that are installed in this
environment and that poolmgr needs, by pip-audit.  Ends with 1 when there are
some.  When nobody can be asked that is said, and is no failure: a check that
fails with somebody's server would be switched off.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any


def needed(package: str, seen: set[str]) -> Iterator[str]:
    """A package's requirements and theirs, as installed: ``name==version``."""
    for requirement in importlib.metadata.requires(package) or ():
        if "extra ==" in requirement:
            continue
        (name,) = re.findall(r"^[A-Za-z0-9._-]+", requirement)
        if (key := re.sub(r"[-_.]+", "-", name).lower()) in seen:
            continue
        seen.add(key)
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system
        yield f"{name}=={version}"
        yield from needed(name, seen)


def findings(report: dict[str, Any]) -> tuple[list[str], int]:
    """What pip-audit has found, a line each, and how many it could ask for."""
    lines, audited = [], 0
    for package in report["dependencies"]:
        audited += "vulns" in package
        for each in package.get("vulns", ()):
            fixed = ", ".join(each["fix_versions"]) or "no version"
            lines.append(
                f"{package['name']} {package['version']}: {each['id']}, "
                f"fixed in {fixed}"
            )
    return lines, audited


def main() -> int:
    """Ask, and tell."""
    wanted = sorted(needed("poolmgr", set()))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(wanted))
        file.flush()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip_audit", "--format=json"),
                *("--no-deps", "--disable-pip", "--progress-spinner=off"),
                *("--timeout=10", f"--requirement={file.name}"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        lines, audited = findings(json.loads(done.stdout))
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or ["no answer"]
        print(f"not audited: {last[0]}")
        return 0
    if not audited:
        print(f"not audited: the index knows none of {len(wanted)} packages")
        return 0
    print(*lines, sep="\n", end="\n" if lines else "")
    print(f"{len(lines)} findings in {audited} of {len(wanted)} packages")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
