"""The command line: ``python3 -m testcloud up|down|status|reset``."""

import argparse
import signal
import sys
from types import FrameType

from testcloud import stack
from testcloud.commands import TestcloudError
from testcloud.location import Location

VERBS = {
    "up": stack.up,
    "down": stack.down,
    "status": stack.status,
    "reset": stack.reset,
}


def main() -> int:
    """Run a command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="testcloud", description=__doc__)
    parser.add_argument("verb", choices=VERBS)
    verb = VERBS[parser.parse_args().verb]
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return verb(Location.from_environment())
    except TestcloudError as error:
        print(f"testcloud: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("testcloud: interrupted", file=sys.stderr)
        return 130


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
