"""A cloud that is not there, for demonstrations, tests and first steps.

It keeps the whole contract of a driver, and what it has in memory or in a
file that several processes can use at once.
"""

from poolmgr.drivers.fake.cloud import FakeCloud
from poolmgr.drivers.fake.settings import FakeSettings

__all__ = ["FakeCloud", "FakeSettings"]
