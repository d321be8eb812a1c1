"""A real OpenStack control plane on loopback, for the functional tests.

``python3 -m testcloud up`` brings it up. Nothing but the standard library is
needed for that; Debian's and Python's packages are fetched on the way. Tests
find it by what is exported here.
"""

from testcloud.knobs import Knobs
from testcloud.location import Location, clouds_file
from testcloud.stack import running

__all__ = ["Knobs", "Location", "clouds_file", "running"]
