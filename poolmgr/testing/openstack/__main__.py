"""``python -m poolmgr.testing.openstack``: run the cloud as a process."""

import argparse
import signal
import tempfile
from dataclasses import fields
from pathlib import Path

from poolmgr.testing.openstack.cloud import LoopbackCloud
from poolmgr.testing.openstack.settings import CloudSettings


def main() -> None:
    """Serve requests until SIGTERM or Ctrl-C."""
    given = vars(_parser().parse_args())
    clouds_yaml = given.pop("clouds_yaml")
    signals = {signal.SIGTERM, signal.SIGINT}
    # Block them before the cloud's thread starts: it inherits the mask, so
    # that sigwait() gets all signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with (
        tempfile.TemporaryDirectory(prefix="loopback-") as directory,
        LoopbackCloud(**given) as cloud,
    ):
        path = clouds_yaml or Path(directory, "clouds.yaml")
        print(cloud.url, flush=True)
        print(cloud.write_clouds_yaml(path), flush=True)
        signal.sigwait(signals)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m poolmgr.testing.openstack",
        description="Serves a loopback OpenStack. Prints its address and, on "
        "the next line, the path of a clouds.yaml for it.",
    )
    parser.add_argument(
        "--clouds-yaml",
        type=Path,
        metavar="FILE",
        help="where to write the clouds.yaml (default: a temporary file)",
    )
    for setting in fields(CloudSettings):
        for kind in (float, int, str):
            if setting.type in (kind, kind | None):
                parser.add_argument(
                    f"--{setting.name.replace('_', '-')}",
                    type=kind,
                    default=setting.default,
                    help="default: %(default)s",
                )
    return parser


if __name__ == "__main__":
    main()
