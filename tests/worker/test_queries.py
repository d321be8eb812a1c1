"""Tests of the questions to the job servers about earlier deliveries."""

import asyncio

import pytest

from poolmgr.gearman.endpoint import ConnectionOptions
from poolmgr.ownership import Job
from poolmgr.worker.queries import JobServerQueries
from tests.batches import FUNCTION
from tests.jobservers import free_port


@pytest.mark.parametrize("server", ["", "no port", "127.0.0.1:{}"])
def test_an_unreachable_job_server_counts_as_no_earlier_delivery(
    server: str,
) -> None:
    job = Job("unique", "H:host:1", server.format(free_port()))

    queries = JobServerQueries(FUNCTION, ConnectionOptions())
    assert not asyncio.run(queries.delivered_before(job))
