"""``python -m poolmgr``, and the console script."""

import importlib.metadata
import signal
import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    if sys.argv[1:] == ["--version"]:
        # Nothing else is as quick, and scripts ask for it.
        print(f"poolmgr {importlib.metadata.version('poolmgr')}")
        return 0
    # Until the command can obey them. The imports take long enough for a
    # signal to come, and process 1 of a container would not even get it.
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    from poolmgr.cli.app import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
