"""``python -m poolmgr.testing.openstack``: the cloud as a process."""

import argparse
import signal
import tempfile
from pathlib import Path

from poolmgr.testing.openstack.cloud import LoopbackCloud
from poolmgr.testing.openstack.settings import CloudSettings

_NUMBERS = (
    "boot_time",
    "boot_spread",
    "delete_time",
    "address_delay",
    "floating_delay",
    "status_delay",
    "latency",
    "rate_limit",
    "token_lifetime",
)
_COUNTS = (
    "port",
    "instances",
    "floating_ips",
    "ports",
    "max_limit",
    "boot_seed",
)
_TEXTS = (
    "host",
    "floating_range",
    "private_range",
    "private_range_v6",
    "max_microversion",
)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    given = vars(_parser().parse_args())
    clouds_yaml = given.pop("clouds_yaml")
    signals = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the cloud's thread begins, so that it is waited for here.
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
    settings = CloudSettings()
    kinds = ((_NUMBERS, float), (_COUNTS, int), (_TEXTS, str))
    for names, kind in kinds:
        for name in names:
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                type=kind,
                default=getattr(settings, name),
                help="default: %(default)s",
            )
    return parser


if __name__ == "__main__":
    main()
