"""A fake cloud for demonstrations, tests and first steps.

It fulfils the whole contract of a driver.  Its devices and floating IPs are in
memory, or in a file that several processes share.
"""

from poolmgr.drivers.fake.cloud import FakeCloud
from poolmgr.drivers.fake.settings import FakeSettings

__all__ = ["FakeCloud", "FakeSettings"]
