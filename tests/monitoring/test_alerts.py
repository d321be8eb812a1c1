"""The alerts, in a real Prometheus that asks a real worker."""

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
from tests.asking import asked
from tests.jobservers import builtin, free_port
from tests.monitoring.watched import watched
from tests.polling import until
from tests.wanted import program

ALERTS = Path(__file__).parents[2] / "etc" / "monitoring" / "alerts.yml"
BUILD_IP = {"action": "BUILD_IP"}
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: poolmgr
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """A Prometheus with the alerts, that does not wait before it fires."""

    def __init__(self, port: int) -> None:
        self._port = port

    def _get(self, path: str) -> dict[str, object]:
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            data: dict[str, object] = json.load(answer)["data"]
        return data

    @property
    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, each with the action it is about."""
        alerts = self._get("alerts")["alerts"]
        assert isinstance(alerts, list)
        return {
            (each["labels"]["alertname"], each["labels"].get("action", ""))
            for each in alerts
            if each["state"] == "firing"
        }

    def value(self, query: str) -> float:
        """The sum of what a query finds."""
        result = self._get(f"query?query={query}")["result"]
        assert isinstance(result, list)
        return sum(float(each["value"][1]) for each in result)


@contextmanager
def prometheus(worker_port: int, folder: Path) -> Iterator[Prometheus]:
    """Run one that asks a worker each second."""
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
        it = Prometheus(port)
        until(lambda: answers(it), 60.0)
        yield it
    finally:
        process.kill()
        process.wait()


def answers(it: Prometheus) -> bool:
    """Whether it has asked the worker twice."""
    try:
        return it.value("sum_over_time(up[1m])") >= 2
    except OSError:
        return False


def test_the_first_failure_and_the_last_worker_raise_alerts(
    tmp_path: Path,
) -> None:
    with LoopbackCloud() as cloud, builtin() as server:
        with watched([server.address], tmp_path, cloud=cloud) as it:
            with prometheus(it.port, tmp_path) as watcher:
                # Mistakes of a client are nobody's business but its own.
                mistakes = [
                    {"action": "DELETE_DEVICE", "name": "no-such-device"},
                    {"action": "ASSIGN_IP", "ip": "300.1.1.1", "name": "x"},
                    {"action": "MAKE_TEA"},
                ]
                asked(server.address, *mistakes * 5)()
                failed = 'sum(poolmgr_jobs_total{outcome="FAIL"})'
                until(lambda: watcher.value(failed) == 15)
                seen = watcher.value("sum(sum_over_time(up[5m]))")
                now = "sum(sum_over_time(up[5m]))"
                until(lambda: watcher.value(now) >= seen + 3)
                assert watcher.firing == set()

                cloud.fault(Fault("POST", path="/floatingips", status=403))
                asked(server.address, BUILD_IP)()
                until(
                    lambda: ("PoolmgrJobFailed", "BUILD_IP") in watcher.firing
                )
                assert ("PoolmgrNoWorkers", "") not in watcher.firing

                it.process.end()
                gone = {("PoolmgrNoWorkers", "")}
                gone |= {("PoolmgrPoolWithoutWorkers", "")}
                until(lambda: gone <= watcher.firing, 60.0)


def test_all_alerts_leave_out_the_same_mistakes_of_clients() -> None:
    mistakes: set[type[PoolmgrError]] = {
        RequestError,
        *RequestError.__subclasses__(),
        NotFound,
        NotOwned,
        AttachedElsewhere,
    }
    text = ALERTS.read_text()
    left_out = re.findall(r'code!~"([^"]*)"', text)

    assert len(left_out) == 5
    for each in left_out:
        assert set(each.split("|")) == {found.code for found in mistakes}
