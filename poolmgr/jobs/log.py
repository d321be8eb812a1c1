"""What is logged of jobs."""

import logging

from poolmgr.events import EndedJob
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)


def log_ended(ended: EndedJob) -> None:
    """Log the one line that every job has."""
    job, error = ended.job, ended.outcome.error
    level = logging.INFO if error is None else logging.WARNING
    if error is None:
        # A client's field with a blank could look like two fields.
        about = ended.about.items()
        more = "".join(f" {k}={v}" for k, v in about if " " not in v)
    else:
        more = f" reason={one_line(ended.outcome.reason)}"
    LOG.log(
        level,
        "action=%s unique=%s handle=%s server=%s outcome=%s duration=%.3fs "
        "request=%s%s",
        one_line(ended.requested_action),
        one_line(job.unique) or "-",
        one_line(job.handle) or "-",
        job.server or "-",
        ended.outcome.answer["response"],
        ended.seconds,
        ended.request_id,
        more,
        extra={"poolmgr_job": ended},
    )
