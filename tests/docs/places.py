"""What there is where the examples of the pages are tried out."""

import json
from pathlib import Path

from poolmgr.testing.openstack import LoopbackCloud

#: What the pages call their cloud.
CLOUD = "mycloud"


def write_clouds(cloud: LoopbackCloud, path: Path) -> None:
    """A clouds.yaml in which a loopback cloud bears the pages' name."""
    cloud.write_clouds_yaml(path)
    (shown,) = json.loads(path.read_text())["clouds"].values()
    path.write_text(json.dumps({"clouds": {CLOUD: shown}}))
