"""Builds the sdist and the wheel reproducibly, byte for byte.

``python -m tools.dist FOLDER`` in the sources; needs ``build``.  Times are
those of the last commit (or SOURCE_DATE_EPOCH), owners are removed, and modes
are normalized.  The wheel is built from the sdist.
"""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path


def main(folder: Path) -> None:
    """Build both into a folder."""
    epoch = _epoch()
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch)
    os.umask(0o022)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        sdist = _build("--sdist", Path.cwd(), temporary)
        (folder / sdist.name).write_bytes(
            normalized(sdist.read_bytes(), epoch)
        )
        sources = unpacked(folder / sdist.name, temporary / "sources")
        wheel = _build("--wheel", sources, temporary)
        (folder / wheel.name).write_bytes(wheel.read_bytes())
    for built in (sdist, wheel):
        print(folder / built.name)


def normalized(packed: bytes, epoch: int) -> bytes:
    """Return an archive with normalized times, owners and modes.

    :param packed: a tar.gz
    :param epoch: the time of all files, in seconds since 1970
    """
    plain, result = io.BytesIO(), io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(packed)) as old,
        tarfile.open(
            fileobj=plain, mode="w", format=tarfile.PAX_FORMAT
        ) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda m: m.name):
            made = tarfile.TarInfo(member.name)
            made.type, made.size, made.mtime = member.type, member.size, epoch
            executable = member.isdir() or member.mode & 0o100
            made.mode = 0o755 if executable else 0o644
            new.addfile(made, old.extractfile(member))
    with gzip.GzipFile(fileobj=result, mode="wb", mtime=epoch) as file:
        file.write(plain.getvalue())
    return result.getvalue()


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack an archive of :func:`normalized`; return its one folder.

    Not by tarfile's filters, which some versions of Python 3.11 lack.
    """
    with tarfile.open(archive) as file:
        for member in file.getmembers():
            path = folder / member.name
            if (content := file.extractfile(member)) is None:
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.write_bytes(content.read())
                path.chmod(member.mode)
    (top,) = folder.iterdir()
    return top


def _epoch() -> int:
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit("no commit here tells the time: set SOURCE_DATE_EPOCH")
    return int(done.stdout)


def _build(what: str, sources: Path, folder: Path) -> Path:
    before = set(folder.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "build", what, "--outdir", folder, sources],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    (built,) = set(folder.iterdir()) - before
    return built


if __name__ == "__main__":
    main(Path(sys.argv[1]))
