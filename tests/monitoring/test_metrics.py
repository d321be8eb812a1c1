"""Tests of the metrics, the alerts and the Grafana dashboard."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from poolmgr.monitoring.statistics import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    LABELS,
)
from poolmgr.ownership import Job, Mark
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.batches import BUILD, BUILD_IP, ask, running, submit
from tests.clouds import nova_on
from tests.jobservers import builtin, free_port
from tests.monitoring.promtool import promtool
from tests.monitoring.watched import WatchedWorker, watched
from tests.polling import until

ROOT = Path(__file__).parents[2]
FILES = ROOT / "etc" / "monitoring"

Labels = frozenset[tuple[str, str]]
Samples = dict[str, dict[Labels, float]]


def samples(text: str) -> Samples:
    """Return the values by metric and labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = frozenset(sample.labels.items())
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def key(**labels: str) -> Labels:
    """Return the key of a sample with these labels."""
    return frozenset(labels.items())


class Scene:
    """A worker on a loopback cloud that has run all kinds of jobs."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.cloud = stack.enter_context(LoopbackCloud())
        self.server = stack.enter_context(builtin())
        self.dead = f"127.0.0.1:{free_port()}"
        self._create_orphan()
        config = "[reaper]\ninterval = 0.2\n[worker]\nlong_jobs = 3\n"
        self.worker: WatchedWorker = stack.enter_context(
            watched(
                [self.server.address, self.dead],
                folder,
                config,
                cloud=self.cloud,
            )
        )
        address = self.server.address
        device = ask(address, BUILD)
        ip = ask(address, BUILD_IP)
        both = {"ip": ip["ip"], "name": device["name"]}
        ask(address, {"action": "assign_ip", **both})
        ask(address, {"action": "DELETE_DEVICE", "name": "no-such"})
        hostile = [{"action": f'X{n}"}}\n# '} for n in range(50)]
        submit(address, *hostile)()
        self.cloud.fault(
            Fault(method="POST", path="/servers", status=403, times=1)
        )
        ask(address, BUILD)
        # Five builds that do not end: three run, two are prefetched.
        self.cloud.set_quota(instances=0)
        submit(address, *[BUILD] * 5, uniques=tuple("abcde"))
        until(lambda: running(address) == 5)
        for line in (
            'poolmgr_jobs_in_flight{lane="long",state="running"} 3.0',
            'poolmgr_jobs_in_flight{lane="long",state="held"} 2.0',
            'poolmgr_breaker_open{breaker="device quota"} 1.0',
            "poolmgr_reaper_findings{",
        ):
            until(lambda: line in self.text)  # noqa: B023 - at once

    def _create_orphan(self) -> None:
        with nova_on(self.cloud) as driver:
            mark = Mark.for_job("libra", Job("left"))
            driver.create_device("libra-left", mark, 30.0)

    @property
    def text(self) -> str:
        """Return the text that Prometheus scrapes."""
        answer = self.worker.get("/metrics")
        assert answer.status == 200
        return answer.body


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Run the worker for all tests of this module."""
    with ExitStack() as stack:
        yield Scene(stack, tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def scraped(scene: Scene) -> Samples:
    """Return the worker's metrics."""
    return samples(scene.text)


def test_jobs_are_counted_by_action_outcome_and_code(scraped: Samples) -> None:
    jobs = scraped["poolmgr_jobs_total"]
    assert {labels: n for labels, n in jobs.items() if n} == {
        key(action="BUILD_DEVICE", outcome="PASS", code=""): 1,
        key(action="BUILD_IP", outcome="PASS", code=""): 1,
        key(action="ASSIGN_IP", outcome="PASS", code=""): 1,
        key(action="DELETE_DEVICE", outcome="FAIL", code="not_found"): 1,
        key(action="BUILD_DEVICE", outcome="FAIL", code="cloud_refused"): 1,
        # One series, however many names clients invent.
        key(action="unknown", outcome="FAIL", code="unknown_action"): 50,
    }


def test_job_durations_are_counted_in_buckets(
    scene: Scene, scraped: Samples
) -> None:
    counts = scraped["poolmgr_job_duration_seconds_count"]
    buckets = scraped["poolmgr_job_duration_seconds_bucket"]

    assert counts[key(action="BUILD_DEVICE")] == 2
    assert buckets[key(action="BUILD_DEVICE", le="+Inf")] == 2
    assert buckets[key(action="unknown", le="600.0")] == 50
    series = [v for k, v in buckets.items() if ("action", "unknown") in k]
    assert series == sorted(series)
    total = scraped["poolmgr_job_duration_seconds_sum"]
    assert total[key(action="BUILD_DEVICE")] > 0


def test_jobs_in_flight_are_counted_by_lane_and_state(
    scraped: Samples,
) -> None:
    jobs = scraped["poolmgr_jobs_in_flight"]
    limit = scraped["poolmgr_jobs_in_flight_limit"]

    assert jobs[key(lane="long", state="running")] == 3
    assert jobs[key(lane="long", state="held")] == 2
    assert jobs[key(lane="short", state="running")] == 0
    assert limit[key(lane="long", state="running")] == 3
    assert jobs.keys() == limit.keys()
    assert scraped["poolmgr_oldest_job_seconds"][key()] > 0


def test_cloud_calls_are_counted_by_service_method_and_status(
    scene: Scene, scraped: Samples
) -> None:
    calls = scraped["poolmgr_cloud_calls_total"]
    created = scene.cloud.count("POST", service="network", path="/floatingips")
    refused = key(service="compute", method="POST", status="403")

    assert (
        calls[key(service="network", method="POST", status="201")] == created
    )
    assert calls[refused] >= 1
    counts = scraped["poolmgr_cloud_call_duration_seconds_count"]
    for service in ("compute", "network"):
        per_status = sum(
            value
            for labels, value in calls.items()
            if {("service", service), ("method", "POST")} <= labels
        )
        assert counts[key(service=service, method="POST")] == per_status


def test_breakers_connections_and_queues_are_exported(
    scene: Scene, scraped: Samples
) -> None:
    address = str(scene.server.address)
    breakers = scraped["poolmgr_breaker_open"]

    assert breakers[key(breaker="device quota")] == 1
    assert breakers[key(breaker="floating ip quota")] == 0
    assert breakers[key(breaker="making compute")] == 0
    connected = scraped["poolmgr_job_server_connected"]
    assert connected == {
        key(server=address): 1,
        key(server=scene.dead): 0,
    }
    answers = scraped["poolmgr_job_server_answers"]
    assert answers == {
        key(server=address): 1,
        key(server=scene.dead): 0,
    }
    jobs = scraped["poolmgr_job_server_jobs"]
    assert jobs == {
        key(server=address, state="waiting"): 0,
        key(server=address, state="running"): 5,
    }
    assert scraped["poolmgr_job_server_workers"] == {key(server=address): 1}


def test_the_reapers_findings_are_counted(scraped: Samples) -> None:
    findings = scraped["poolmgr_reaper_findings"]

    # The reaper may also have seen the devices of running builds.
    assert findings[key(kind="device", verdict="kept")] >= 1
    assert scraped["poolmgr_reaper_looks_total"][key(outcome="done")] >= 1
    assert scraped["poolmgr_reaper_removed_total"][key(kind="device")] == 0


def test_build_information_and_memory_are_exported(scraped: Samples) -> None:
    (labels,) = scraped["poolmgr_build_info"]

    assert {name for name, _value in labels} == {"version", "python", "pool"}
    assert scraped["poolmgr_draining"] == {key(): 0}
    assert scraped["process_resident_memory_bytes"][key()] > 0


def test_the_age_of_the_watchs_view_of_the_cloud_is_exported(
    tmp_path: Path,
) -> None:
    with LoopbackCloud(boot_time=3600) as cloud, builtin() as server:
        with watched([server.address], tmp_path, cloud=cloud) as worker:

            def value(name: str) -> float:
                return samples(worker.get("/metrics").body)[name][key()]

            assert value("poolmgr_watch_age_seconds") == 0
            submit(server.address, BUILD)
            until(lambda: value("poolmgr_watch_devices") == 1)
            until(lambda: cloud.count("GET", path="/servers/detail") > 3)
            cloud.fault(Fault(path="/servers/detail", status=503, times=None))
            until(lambda: value("poolmgr_watch_age_seconds") > 3)
            cloud.clear_faults()
            until(lambda: value("poolmgr_watch_age_seconds") < 3)


def test_counters_of_every_action_start_at_0(scraped: Samples) -> None:
    jobs = scraped["poolmgr_jobs_total"]

    for action in ("BUILD_IP", "REMOVE_IP", "DELETE_IP"):
        assert key(action=action, outcome="PASS", code="") in jobs
        for code in ("quota_exceeded", "deadline", "plugin_failed"):
            assert jobs[key(action=action, outcome="FAIL", code=code)] == 0


# -- alerts, dashboard and documentation --------------------------------------


def test_exported_and_documented_metrics_are_the_same(scene: Scene) -> None:
    kinds = {
        "counter": COUNTERS,
        "histogram": HISTOGRAMS,
        "gauge": GAUGES,
    }
    documented = {
        (name, kind): (text, {*LABELS.get(name, ())})
        for kind, metrics in kinds.items()
        for name, text in metrics.items()
    }
    exported: dict[tuple[str, str], tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(scene.text):
        if family.name.startswith("poolmgr_"):
            labels = {x for sample in family.samples for x in sample.labels}
            about = family.documentation, labels - {"le"}
            exported[family.name, family.type] = about

    assert documented == exported


def names_in(expression: str) -> set[str]:
    """Return the metrics in an expression of PromQL."""
    return set(re.findall(r"\b(?:poolmgr|process)_\w+", expression))


def rules() -> list[dict[str, Any]]:
    """Return all alerts."""
    loaded = yaml.safe_load((FILES / "alerts.yml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    """Return all expressions of the dashboard and the alerts."""
    board = json.loads((FILES / "grafana-dashboard.json").read_text())
    panels = [t["expr"] for p in board["panels"] for t in p["targets"]]
    return panels + [rule["expr"] for rule in rules()]


def test_expressions_use_only_exported_metrics_and_labels(
    scraped: Samples,
) -> None:
    all_expressions = expressions()
    assert len(all_expressions) > 30
    for expression in all_expressions:
        names = names_in(expression)
        assert names, expression
        assert names <= scraped.keys(), expression
        labels = {
            name
            for each in names
            for series in scraped[each]
            for name, _value in series
        } | {"instance"}
        used = set(re.findall(r"(\w+)(?:=~?|!~|!=)\"", expression))
        for grouping in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
            used |= {name.strip() for name in grouping.split(",")}
        assert used <= labels, expression


def test_annotations_use_only_labels_of_their_alert() -> None:
    for rule in rules():
        text = " ".join(rule["annotations"].values())
        used = set(re.findall(r"\$labels\.(\w+)", text))
        grouping = re.findall(r"\bby \(([^)]*)\)", rule["expr"])
        if grouping:
            available = {
                name.strip() for each in grouping for name in each.split(",")
            }
            assert used <= available, rule["alert"]


def test_dashboard_panels_do_not_overlap() -> None:
    board = json.loads((FILES / "grafana-dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(
        board["panels"]
    )


def test_promtool_accepts_the_alert_rules() -> None:
    output = promtool("check", "rules", str(FILES / "alerts.yml"))

    assert f"{len(rules())} rules found" in output


ALERTS = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'poolmgr_job_server_connected{{instance="w1", server="a"}}'
        values: '0x20'
      - series: 'poolmgr_job_server_connected{{instance="w1", server="b"}}'
        values: '1x5 0x15'
      - series: 'poolmgr_jobs_total{{action="BUILD_DEVICE", outcome="FAIL", code="quota_exceeded"}}'
        values: '0+2x20'
      - series: 'poolmgr_jobs_total{{action="BUILD_DEVICE", outcome="PASS", code=""}}'
        values: '0+1x20'
      - series: 'poolmgr_jobs_total{{action="BUILD_IP", outcome="PASS", code=""}}'
        values: '0+9x20'
      - series: 'poolmgr_cloud_calls_total{{service="compute", method="GET", status="none"}}'
        values: '0+3x20'
      - series: 'poolmgr_cloud_calls_total{{service="compute", method="GET", status="200"}}'
        values: '0+9x20'
      - series: 'poolmgr_cloud_calls_total{{service="network", method="GET", status="404"}}'
        values: '0+9x20'
    alert_rule_test:
      - alertname: PoolmgrNoJobServer
        eval_time: 4m
      - alertname: PoolmgrNoJobServer
        eval_time: 15m
        exp_alerts:
          - exp_labels: {{severity: critical, instance: w1}}
            exp_annotations:
              summary: w1 is registered with no job server
              description: It gets no jobs. /readyz says why.
      - alertname: PoolmgrJobsFail
        eval_time: 15m
        exp_alerts:
          - exp_labels: {{severity: critical, action: BUILD_DEVICE}}
            exp_annotations:
              summary: More than half of the BUILD_DEVICE jobs fail
              description: The status page shows the latest reasons.
      - alertname: PoolmgrCloudFails
        eval_time: 15m
        exp_alerts:
          - exp_labels: {{severity: critical, service: compute}}
            exp_annotations:
              summary: More than a fifth of the calls to compute fail
"""  # noqa: E501 - one line per series


def test_alerts_fire_when_their_thresholds_are_crossed(tmp_path: Path) -> None:
    path = tmp_path / "test.yml"
    path.write_text(ALERTS.format(rules=FILES / "alerts.yml"))

    assert "SUCCESS" in promtool("test", "rules", str(path))
