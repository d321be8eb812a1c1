"""A real OpenStack control plane on loopback, for the functional tests.

``python3 -m testcloud up`` starts it. This needs only the standard library,
and installs the Debian and Python packages of OpenStack. Tests import this
package to find the cloud.
"""

from testcloud.knobs import Knobs
from testcloud.location import Location, clouds_file
from testcloud.stack import running

__all__ = ["Knobs", "Location", "clouds_file", "running"]
