"""Scenes: workers that do not start, and misunderstood options."""

import re
import signal
from pathlib import Path

from poolmgr.testing.openstack import Fault
from tests.nova.config_folders import changed_token
from tests.processes import Process
from tests.trouble.scenes import scene
from tests.trouble.stage import FAKE, Stage


def started(stage: Stage, text: str) -> str:
    """Return the output of a worker that cannot start."""
    return stage.run("--config-file", stage.config(text), *FAKE, "worker")


@scene("[nova]: no cloud is configured")
def no_cloud(stage: Stage) -> str:
    return stage.run("worker")


@scene("Cloud mycluod was not found.")
def cloud_unknown(stage: Stage) -> str:
    stage.cloud()
    return stage.run("--os-cloud", "mycluod", "worker")


@scene("[nova] image: 'libra-haproxi' not found")
def made_of_nothing(stage: Stage) -> str:
    stage.cloud()
    wrong = {"image": "libra-haproxi", "flavor": "m1.smal"}
    config = stage.config(networks="privat", **wrong)
    return stage.run("--config-file", config, "worker")


@scene("the cloud refuses the login: Keystone answered 401")
def login_refused(stage: Stage) -> str:
    stage.cloud()
    text = stage.clouds_yaml.read_text()
    wrong = re.sub(r'("password": ")\w+', r"\1wrong-password", text)
    stage.clouds_yaml.write_text(wrong)
    return stage.run("--config-file", stage.config(), "worker")


@scene("Expecting to find domain in project")
def login_without_a_domain(stage: Stage) -> str:
    words = "Expecting to find domain in project. The server could not comply."
    error = {"code": 400, "message": words, "title": "Bad Request"}
    refused = Fault(
        "POST",
        service="identity",
        status=400,
        times=None,
        body={"error": error},
    )
    stage.cloud().fault(refused)
    return stage.run("--config-file", stage.config(), "worker")


@scene("the login is for no project; set project_name")
def login_without_a_project(stage: Stage) -> str:
    cloud = stage.cloud()
    cloud.fault(changed_token(cloud, project=None, catalog=[]))
    return stage.run("--config-file", stage.config(), "worker")


@scene("Version 2.200 is not supported by the API")
def microversion_unknown(stage: Stage) -> str:
    stage.cloud()
    config = stage.config(compute_api_version="2.200")
    return stage.run("--config-file", config, "worker")


@scene("POST /auth/tokens: cannot reach http://...: Connection refused")
def cloud_unreachable(stage: Stage) -> str:
    stage.cloud().close()
    config = stage.config("[poolmgr]\nshort_timeout = 3\n")
    return stage.run("--config-file", config, "worker")


@scene("line 2: must be at least 1, not 0")
def value_out_of_bounds(stage: Stage) -> str:
    return started(stage, "[worker]\nlong_jobs = 0\n")


@scene("line 1: there is no [section]")
def file_broken(stage: Stage) -> str:
    return started(stage, "long_jobs = 10\n")


@scene("no driver named 'novaa'")
def driver_unknown(stage: Stage) -> str:
    config = stage.config("[poolmgr]\ndriver = novaa")
    return stage.run("--config-file", config, "worker")


@scene("TLS: CA file ... cannot be used")
def tls_files(stage: Stage) -> str:
    return started(stage, "[gearman]\nssl_ca = /etc/poolmgr/tls/ca.pem\n")


@scene("line 2 has no effect: did you mean [worker] long_jobs?")
def unknown_option(stage: Stage) -> str:
    text = "[worker]\nlong_job = 10\n[wroker]\nshort_jobs = 1\n"
    options = stage.at(str(stage.job_server().address), text)
    return stage.log(options, "registered")


@scene("has no effect: poolmgr does not use it")
def obsolete(stage: Stage) -> str:
    text = "[mgm]\nbuild_diag_timeout = 10\nrm_fip_ignore_500 = true\n"
    options = stage.at(
        str(stage.job_server().address), f"{text}[gearman]\npoll = 5\n"
    )
    return stage.log(options, "registered")


def of_libra(stage: Stage) -> str:
    """Return an original libra.cfg."""
    return stage.config(
        f"[mgm]\nnova_auth_url = http://{stage.dead_address()}/v2.0\n"
        "nova_user = u\nnova_pass = secretsecret\nnova_tenant = t\n"
        "nova_image = i\nnova_image_size = 1\n"
        "[poolmgr]\nshort_timeout = 3\n"
    )


@scene("has a secret ([nova] password) and can be read by everybody:")
def readable_by_all(stage: Stage) -> str:
    config = of_libra(stage)
    Path(config).chmod(0o644)
    return stage.run("--config-file", config, "check")


def reread(stage: Stage, before: str, after: str, words: str) -> str:
    """Return a worker's log after a change of its configuration and SIGHUP."""
    options = stage.at(str(stage.job_server().address), before)

    def change(process: Process) -> None:
        process.wait_for("registered")
        Path(options[1]).write_text(after)
        process.signal(signal.SIGHUP)

    return stage.log(options, words, change)


@scene("configuration not reloaded:")
def reload_refused(stage: Stage) -> str:
    before, after = "[worker]\nlong_jobs = 9\n", "[worker]\nlong_jobs = -1\n"
    return reread(stage, before, after, "not reloaded")


@scene("'libra' -> 'lb' needs a restart, keeping the old value")
def needs_restart(stage: Stage) -> str:
    before, after = "[poolmgr]\nbasename = libra\n", "[poolmgr]\nbasename=lb\n"
    return reread(stage, before, after, "needs a restart")
