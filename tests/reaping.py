"""What the reaper's tests share."""

from collections.abc import Collection

from poolmgr.ownership import Mark


class NoJobs:
    """Knows no job."""

    def reasons(self, marks: Collection[Mark]) -> dict[Mark, str]:
        """None."""
        return {}
