"""The programs in C that stand beside ours."""

import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
_FOLDER = tempfile.TemporaryDirectory()


@functools.cache
def program(name: str, *libraries: str) -> str | None:
    """The path of one, or None if it cannot be built here.

    :param libraries: what it is linked with
    """
    compiler, path = shutil.which("cc"), str(Path(_FOLDER.name) / name)
    if compiler is None:
        sys.exit("there is no compiler: apt-get install gcc libc6-dev")
    source = str(PEERS / f"{name}.c")
    built = subprocess.run(
        [compiler, "-O2", source, *libraries, "-o", path],
        capture_output=True,
        check=False,
    )
    return None if built.returncode else path
