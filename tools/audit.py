"""Checks poolmgr's requirements for known vulnerabilities.

``python -m tools.audit`` runs pip-audit on the installed packages that poolmgr
requires.  The exit code is 1 if there are vulnerabilities.  If the database
cannot be reached, that is printed, and is not a failure: an outage of another
service must not break the build.
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
    """Yield a package's installed requirements, recursively, as pins."""
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
    """Return the findings as lines, and the number of audited packages."""
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
    """Run the audit and print the findings."""
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
