"""The entry point of ``python -m poolmgr`` and the console script."""

import os
import signal
import sys


def main() -> int:
    """Run the command line and return the exit code."""
    # Hold signals back until the command handles them: one may come during
    # the imports, and process 1 of a container would ignore it.
    # The same as ENDING of poolmgr.worker.signals, which is not imported yet.
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    if sys.argv[1:] == ["--version"]:
        # Scripts often ask for it, so skip the other imports.
        from contextlib import suppress
        from importlib.metadata import version

        with suppress(OSError):  # reported by the command line
            os.write(1, f"poolmgr {version('poolmgr')}\n".encode())
            return 0
    from poolmgr.cli.app import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
