"""The entry point of ``python -m poolmgr`` and the console script."""

import importlib.metadata
import signal
import sys


def main() -> int:
    """Run the command line and return the exit code."""
    if sys.argv[1:] == ["--version"]:
        # Scripts often ask for it, so skip the imports.
        print(f"poolmgr {importlib.metadata.version('poolmgr')}")
        return 0
    # Hold signals back until the command handles them: one may come during
    # the imports, and process 1 of a container would ignore it.
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    from poolmgr.cli.app import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
