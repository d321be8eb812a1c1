"""Tests of the alerts in a real Prometheus that scrapes a real worker."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poolmgr.errors import (
    AttachedElsewhere,
    NotFound,
    NotOwned,
    PoolmgrError,
    RequestError,
)
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.batches import BUILD_IP, ask, submit
from tests.jobservers import builtin, free_port
from tests.monitoring.watched import watched
from tests.polling import until
from tests.wanted import program

ALERTS = Path(__file__).parents[2] / "etc" / "monitoring" / "alerts.yml"
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: poolmgr
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """A Prometheus whose alerts fire without their waiting time."""

    def __init__(self, port: int) -> None:
        self._port = port

    def _get(self, path: str) -> dict[str, object]:
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            data: dict[str, object] = json.load(answer)["data"]
        return data

    @property
    def firing(self) -> set[tuple[str, str]]:
        """Return the names of the firing alerts, each with its action."""
        alerts = self._get("alerts")["alerts"]
        assert isinstance(alerts, list)
        return {
            (each["labels"]["alertname"], each["labels"].get("action", ""))
            for each in alerts
            if each["state"] == "firing"
        }

    def value(self, query: str) -> float:
        """Return the sum of a query's results."""
        result = self._get(f"query?query={query}")["result"]
        assert isinstance(result, list)
        return sum(float(each["value"][1]) for each in result)


@contextmanager
def prometheus(worker_port: int, folder: Path) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes a worker each second."""
    text = re.sub(r"for: \d+m", "for: 0s", ALERTS.read_text())
    (folder / "alerts.yml").write_text(text)
    (folder / "config.yml").write_text(CONFIG.format(port=worker_port))
    port = free_port()
    process = subprocess.Popen(
        [
            program("prometheus"),
            f"--config.file={folder / 'config.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        server = Prometheus(port)
        until(lambda: has_scraped(server), 120.0)
        yield server
    finally:
        process.kill()
        process.wait()


def has_scraped(server: Prometheus) -> bool:
    """Return whether Prometheus has scraped the worker twice."""
    try:
        return server.value("sum_over_time(up[1m])") >= 2
    except OSError:
        return False


def test_the_first_failed_job_and_the_loss_of_the_last_worker_raise_alerts(
    tmp_path: Path,
) -> None:
    with LoopbackCloud() as cloud, builtin() as server:
        with watched([server.address], tmp_path, cloud=cloud) as worker:
            with prometheus(worker.port, tmp_path) as monitor:
                # Failures that are a client's fault raise no alert.
                client_errors = [
                    {"action": "DELETE_DEVICE", "name": "no-such-device"},
                    {"action": "ASSIGN_IP", "ip": "300.1.1.1", "name": "x"},
                    {"action": "MAKE_TEA"},
                ]
                submit(server.address, *client_errors * 5)()
                failed = 'sum(poolmgr_jobs_total{outcome="FAIL"})'
                until(lambda: monitor.value(failed) == 15)
                count = "sum(sum_over_time(up[5m]))"
                scrapes = monitor.value(count)
                until(lambda: monitor.value(count) >= scrapes + 3)
                assert monitor.firing == set()

                cloud.fault(Fault("POST", path="/floatingips", status=403))
                ask(server.address, BUILD_IP)
                until(
                    lambda: ("PoolmgrJobFailed", "BUILD_IP") in monitor.firing
                )
                assert ("PoolmgrNoWorkers", "") not in monitor.firing

                worker.process.end()
                expected = {("PoolmgrNoWorkers", "")}
                expected |= {("PoolmgrPoolWithoutWorkers", "")}
                until(lambda: expected <= monitor.firing, 120.0)


def test_all_alerts_exclude_the_same_client_errors() -> None:
    client_errors: set[type[PoolmgrError]] = {
        RequestError,
        *RequestError.__subclasses__(),
        NotFound,
        NotOwned,
        AttachedElsewhere,
    }
    text = ALERTS.read_text()
    excluded = re.findall(r'code!~"([^"]*)"', text)

    assert len(excluded) == 5
    for each in excluded:
        assert set(each.split("|")) == {error.code for error in client_errors}
