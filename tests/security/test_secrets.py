"""Planted secrets never appear in any output."""

import base64
import html
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import trustme

from poolmgr import PoolManager
from poolmgr.cli.logs import make_record
from poolmgr.drivers.base import Device
from poolmgr.drivers.fake import FakeCloud
from poolmgr.drivers.nova import NovaCloud, NovaSettings
from poolmgr.errors import CloudRefused
from poolmgr.settings import PoolSettings
from poolmgr.testing.openstack import Fault, LoopbackCloud, seeds
from poolmgr.text import one_line, secrecy
from tests.clouds import nova_group, nova_on
from tests.jobservers import free_port, gearmand
from tests.nova.config_folders import token_of
from tests.nova.pools import DETAILS, SERVERS
from tests.processes import Process, poolmgr

PASSWORD = 'pl4nted/pa"ss w\xf6rd&+%zz'
USER_DATA = "zz-planted-in-the-devices"
PROXY = "yy-planted-elsewhere"
NAME = "libra-eaf1fef0-1584-11e3-b42b-02163e192df9"


def spellings(secret: str) -> set[str]:
    """Return the forms in which a secret might appear."""
    raw = secret.encode()
    forms = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        secret.replace("&", "&amp;").replace('"', "&quot;"),
        raw.hex(),
        # Half of a secret is a leak, too.
        secret[:8],
        secret[-8:],
    }
    for before in (b"", b"x", b"xx"):
        # For each alignment, only the middle is independent of the rest.
        forms.add(base64.b64encode(before + raw + b"xx").decode()[4:-8])
    return forms


def leaks(text: str, *more: str) -> list[str]:
    """Return the secrets that a text contains."""
    secrets = {"gAAAAA", "adminPass", "PRIVATE KEY", *more}
    for secret in (PASSWORD, USER_DATA, PROXY):
        secrets |= spellings(secret)
    return sorted(each for each in secrets if each in text)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackCloud]:
    monkeypatch.setattr(seeds, "PASSWORD", PASSWORD)
    with LoopbackCloud() as cloud:
        yield cloud


@dataclass
class CommandRunner:
    """Runs commands in a folder and returns all their output."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder / "poolmgr.log"

    def options(self, *more: str) -> list[str]:
        return ["--debug", "--log-file", str(self.log), *more]

    def log_text(self) -> str:
        """Return the text of the log file."""
        return self.log.read_text() if self.log.exists() else ""

    def run(self, *args: str, **environment: str) -> str:
        """Run a command and return its output."""
        done = poolmgr(
            *self.options(*args), **{**self.environment, **environment}
        )
        assert done.stderr or done.stdout
        return done.stdout + done.stderr + self.log_text()


@pytest.fixture
def runner(cloud: LoopbackCloud, tmp_path: Path) -> CommandRunner:
    """Return a runner with the cloud's credentials in OS_ variables."""
    user_data = tmp_path / "user-data"
    user_data.write_text(f"#!/bin/sh\nPASSWORD={USER_DATA}\n")
    credentials = {f"OS_{k.upper()}": v for k, v in cloud.credentials.items()}
    return CommandRunner(
        tmp_path,
        {
            **credentials,
            "OS_NOVA__IMAGE": "tiny",
            "OS_NOVA__FLAVOR": "m1.nano",
            "OS_NOVA__NETWORKS": "private",
            "OS_NOVA__FLOATING_NETWORK": "public",
            "OS_NOVA__USER_DATA": str(user_data),
            "OS_NOVA__CALL_TIMEOUT": "0.5",
            "OS_POOLMGR__SHORT_TIMEOUT": "1.5",
            "OS_POOLMGR__LONG_TIMEOUT": "1.5",
            "OS_POOLMGR__EXPLAIN_FAILURES": "true",
        },
    )


def echo_secrets(status: int, **rule: Any) -> Fault:
    """Return a fault whose answer contains the secrets in many forms."""
    user_data = ""
    if rule.get("path") == SERVERS:
        user_data = base64.b64encode(
            f"#!/bin/sh\nPASSWORD={USER_DATA}\n".encode() * 5
        ).decode()
    basic = base64.b64encode(f"demo:{PASSWORD}".encode()).decode()
    message = (
        f"login of demo with {PASSWORD!r} / {quote(PASSWORD)} / {basic} at "
        f"http://demo:{PASSWORD}@keystone/ failed; Authorization: {basic}; "
        f"{quote_plus(PASSWORD)}; {user_data}"
    )
    body = {"error": {"message": message, "code": status}}
    return Fault(status=status, body=body, times=None, **rule)


FAULTS: dict[str, Callable[[], list[Fault]]] = {
    "none": list,
    "a refused token": lambda: [
        Fault(service="compute", status=401, times=None)
    ],
    "a refused login": lambda: [
        echo_secrets(401, service="identity", method="POST")
    ],
    "a failed login": lambda: [echo_secrets(500, service="identity")],
    "refused calls": lambda: [echo_secrets(403, service="compute")],
    "failed calls": lambda: [echo_secrets(500, service="compute")],
    "a failed creation": lambda: [
        echo_secrets(500, method="POST", path=SERVERS)
    ],
    "an HTML page": lambda: [
        Fault(
            service="compute",
            status=502,
            body=f"<html><p>{PASSWORD}</p></html>",
            times=None,
        )
    ],
    "broken JSON": lambda: [
        Fault(method="POST", service="compute", truncate=True, times=None)
    ],
    "broken JSON of Keystone": lambda: [
        Fault(service="identity", truncate=True, times=None)
    ],
    "a reset": lambda: [Fault(service="compute", reset=True, times=None)],
    "a hung login": lambda: [Fault(service="identity", hang=30.0, times=None)],
}


@pytest.mark.parametrize("case", FAULTS)
def test_no_command_shows_a_secret(
    cloud: LoopbackCloud, runner: CommandRunner, case: str
) -> None:
    for fault in FAULTS[case]():
        cloud.fault(fault)

    for command in (["check"], ["build-device"], ["delete-device", NAME]):
        output = runner.run(*command)
        assert leaks(output) == [], output


def test_no_secret_is_shown_when_the_cloud_is_down(
    runner: CommandRunner,
) -> None:
    url = f"http://127.0.0.1:{free_port()}/v3"

    output = runner.run("check", OS_AUTH_URL=url)

    assert "Connection refused" in output
    assert leaks(output) == [], output


@pytest.mark.parametrize(
    "proxy", [f"http://u:{PROXY}@127.0.0.1:%d", f"http://u:{PROXY}@[bad"]
)
def test_a_proxy_password_is_not_shown(
    runner: CommandRunner, proxy: str
) -> None:
    proxy = proxy.replace("%d", str(free_port()))

    output = runner.run(
        "check", http_proxy=proxy, OS_AUTH_URL="http://192.0.2.1:5000/v3"
    )

    assert leaks(output) == [], output


@pytest.mark.parametrize("where", ["environment", "file", "clouds.yaml"])
def test_a_password_in_an_address_is_refused_and_not_shown(
    runner: CommandRunner, where: str
) -> None:
    url = f"http://demo:{PROXY}@127.0.0.1:1/v3"
    clouds = runner.folder / "clouds.yaml"
    auth = {"auth_url": url, "username": "u", "password": PASSWORD}
    clouds.write_text(json.dumps({"clouds": {"x": {"auth": auth}}}))
    config = runner.folder / "poolmgr.conf"
    config.write_text(
        f"[nova]\nauth_url = {url}\nusername = u\npassword = abcdefgh\n"
    )
    output = {
        "environment": lambda: runner.run("check", OS_AUTH_URL=url),
        "file": lambda: runner.run("--config-file", str(config), "check"),
        "clouds.yaml": lambda: runner.run(
            "--os-cloud", "x", "check", OS_CLIENT_CONFIG_FILE=str(clouds)
        ),
    }[where]()

    assert "auth_url must be an address like" in output
    assert leaks(output) == [], output


@pytest.mark.parametrize(
    "case", ["none", "a failed login", "failed calls", "broken JSON"]
)
def test_the_worker_shows_no_secret(
    cloud: LoopbackCloud, runner: CommandRunner, tmp_path: Path, case: str
) -> None:
    with gearmand() as server:
        process = Process(
            runner.options("--gearman-server", str(server.address), "worker"),
            **runner.environment,
        )
        try:
            process.wait_for("connected and registered")
            cloud.expire_tokens()
            for fault in FAULTS[case]():
                cloud.fault(fault)
            answers = [
                poolmgr(
                    "--gearman-server", str(server.address), "submit", message
                ).stdout
                for message in (
                    '{"action": "BUILD_DEVICE"}',
                    f'{{"action": "DELETE_DEVICE", "name": "{NAME}"}}',
                )
            ]
        finally:
            process.end()

    assert all('"response"' in answer for answer in answers)
    output = "".join([*process.lines, *answers, runner.log_text()])
    assert "action=BUILD_DEVICE" in runner.log_text()
    assert leaks(output) == [], output


@pytest.mark.parametrize(
    "line",
    [
        f"password {PROXY}",
        f"password = a${{{PROXY}}}$b",
        f"password = ${PROXY}$",
        f"[{PROXY}",
        f"  {PROXY}",
    ],
)
def test_a_wrong_line_of_a_file_is_not_shown(
    runner: CommandRunner, line: str
) -> None:
    config = runner.folder / "poolmgr.conf"
    config.write_text(f"[nova]\n{line}\nauth_url = http://127.0.0.1:1/v3\n")
    if line.startswith("  "):
        config.write_text(f"{line}\n")

    output = runner.run("--config-file", str(config), "check")

    assert "ConfigError" in output
    assert leaks(output) == [], output


@pytest.mark.parametrize(
    "start", ["*", "&x *", "!", "!!python/name:", "%", "@"]
)
def test_a_password_with_yaml_syntax_is_not_shown(
    runner: CommandRunner, start: str
) -> None:
    clouds = runner.folder / "clouds.yaml"
    clouds.write_text(
        "clouds:\n  x:\n    auth:\n      auth_url: http://127.0.0.1:1/v3\n"
        f"      username: u\n      password: {start}{PROXY}\n"
    )

    output = runner.run(
        "--os-cloud", "x", "check", OS_CLIENT_CONFIG_FILE=str(clouds)
    )

    assert leaks(output) == [], output


def test_the_content_of_a_key_is_not_shown(runner: CommandRunner) -> None:
    authority = trustme.CA()
    key = authority.issue_cert("localhost").private_key_pem
    path, ca = runner.folder / "key.pem", runner.folder / "ca.pem"
    path.write_bytes(key.bytes())
    authority.cert_pem.write_to_path(str(ca))
    config = runner.folder / "poolmgr.conf"
    config.write_text(
        f"[gearman]\nssl_ca = {ca}\nssl_cert = {path}\nssl_key = {path}\n"
    )

    output = runner.run(
        "--driver", "fake", "--config-file", str(config), "worker"
    )

    assert "cannot be used (" in output
    content = key.bytes().decode().splitlines()[1][:40]
    assert leaks(output, content) == [], output


class LeakingDriver(FakeCloud):
    """A driver with a bug, whose error reveals secrets."""

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> list[Device]:
        raise RuntimeError(f"cannot log in with {PASSWORD}\x1b[2J\nat all")


def test_a_traceback_shows_no_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secrecy.hide(PASSWORD)
    settings = PoolSettings(explain_failures=True)
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(make_record)
    try:
        with PoolManager(LeakingDriver(), settings) as manager:
            answer = manager.run({"action": "DELETE_DEVICE", "name": NAME})
    finally:
        logging.setLogRecordFactory(before)

    formatter = logging.Formatter("%(message)s")
    output = "\n".join(map(formatter.format, caplog.records))
    assert "Traceback" in output
    assert "RuntimeError: cannot log in with ***\\x1b[2J" in output
    assert leaks(output + json.dumps(answer)) == []


_LIBRARY = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from poolmgr import PoolManager
from poolmgr.drivers.nova import NovaCloud, NovaSettings
from poolmgr.errors import CloudRefused
from poolmgr.settings import PoolSettings
auth_url, user_data = sys.argv[1:]
cloud = NovaCloud(NovaSettings(
    auth_url=auth_url, username="demo", project_name="demo",
    password=sys.stdin.read(), image="tiny", flavor="m1.nano",
    networks=("private",), user_data=user_data, call_timeout=0.5,
))
settings = PoolSettings(
    explain_failures=True, short_timeout=1.5, long_timeout=1.5
)
with PoolManager(cloud, settings) as manager:
    for action in ("BUILD_DEVICE", "DELETE_DEVICE", "BUILD_IP"):
        print(manager.run({"action": action, "name": "libra-1"}))
cloud.close()
"""


@pytest.mark.parametrize("case", FAULTS)
def test_sdk_debug_logs_show_no_secret(
    cloud: LoopbackCloud, runner: CommandRunner, case: str
) -> None:
    """The library does not limit the SDK's loggers; the commands do."""
    for fault in FAULTS[case]():
        cloud.fault(fault)

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _LIBRARY,
            cloud.credentials["auth_url"],
            runner.environment["OS_NOVA__USER_DATA"],
        ],
        input=PASSWORD,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("OS_")},
    )

    assert "DEBUG:keystoneauth" in done.stderr
    assert leaks(done.stdout + done.stderr) == [], done.stderr


@pytest.mark.parametrize(
    "credentials",
    [
        {"username": "u", "password": "planted-1-planted"},
        {
            "auth_type": "v3applicationcredential",
            "application_credential_id": "i",
            "application_credential_secret": "planted-2-planted",
        },
        {"auth_type": "v3token", "token": "planted-3-planted"},
    ],
    ids=["password", "application credential", "token"],
)
def test_every_kind_of_credentials_is_masked(
    credentials: dict[str, Any],
) -> None:
    NovaCloud(
        NovaSettings(auth_url="http://127.0.0.1:1", **credentials)
    ).close()

    secret = next(v for v in credentials.values() if v.startswith("planted"))
    assert secrecy.masked(f"a {secret} b") == "a *** b"


@pytest.fixture
def mask() -> secrecy.Mask:
    return secrecy.Mask()


def test_a_secret_is_masked_in_every_spelling(mask: secrecy.Mask) -> None:
    mask.hide(PASSWORD)
    raw = PASSWORD.encode()
    for form in (
        PASSWORD,
        quote(PASSWORD),
        quote(PASSWORD, safe=""),
        quote_plus(PASSWORD),
        json.dumps({"password": PASSWORD}),
        json.dumps({"password": PASSWORD}, ensure_ascii=False),
        repr({"password": PASSWORD}),
        html.escape(PASSWORD),
        *(base64.b64encode(b"demo:"[n:] + raw).decode() for n in range(6)),
        *(base64.b64encode(raw + b":demo"[n:]).decode() for n in range(6)),
        base64.urlsafe_b64encode(b"??" + raw).decode(),
    ):
        masked = mask.masked(f"a {form} b")
        assert "***" in masked
        assert leaks(masked) == []


def test_shortened_text_contains_no_part_of_a_secret() -> None:
    secrecy.hide("hunter2-hunter2")
    for before in range(30):
        output = one_line("x" * before + "hunter2-hunter2" + "y" * 50, 20)
        assert "hunt" not in output


def test_old_tokens_are_forgotten_but_passwords_are_not(
    mask: secrecy.Mask,
) -> None:
    mask.hide("the-password")

    mask.hide(*(f"token-{n:04}" for n in range(1000)), is_token=True)

    output = mask.masked("the-password token-0999 token-0000")
    assert output == "*** *** token-0000"


def test_a_short_secret_is_masked_as_a_word_of_foreign_text(
    mask: secrecy.Mask,
) -> None:
    mask.hide("true", "a", "", None, 5)

    assert mask.masked("a truer 'true', 5") == "a truer '***', 5"
    assert mask.screened("it is true") == "it is true"


def test_a_secret_equal_to_a_common_word_is_masked_only_in_foreign_text(
    mask: secrecy.Mask,
) -> None:
    mask.hide("testcloud")
    assert mask.screened("the testcloud") == "the ***"

    mask.show("testcloud", None)

    assert mask.screened("the testcloud") == "the testcloud"
    assert mask.masked("the testcloud") == "the ***"


@pytest.mark.parametrize(
    "word", ["testcloud", "private", "floating_network", "password", "tiny"]
)
def test_a_password_equal_to_a_common_word_hides_nothing_in_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str
) -> None:
    monkeypatch.setattr(seeds, "PASSWORD", word)
    config = tmp_path / "poolmgr.conf"
    config.write_text(nova_group("testcloud"))
    clouds = tmp_path / "clouds.yaml"
    with LoopbackCloud() as cloud:
        entry = {"auth": cloud.credentials, "region_name": seeds.REGION}
        clouds.write_text(json.dumps({"clouds": {"testcloud": entry}}))
        done = poolmgr(
            "--config-file",
            str(config),
            "check",
            OS_CLIENT_CONFIG_FILE=str(clouds),
        )
        echo = {"message": f"login with {word} failed", "code": 401}
        cloud.fault(
            Fault(service="identity", status=401, body={"error": echo})
        )
        refused = poolmgr(
            "--config-file",
            str(config),
            "check",
            OS_CLIENT_CONFIG_FILE=str(clouds),
        )

    assert done.returncode == 0
    assert "***" not in done.stdout
    assert "| floating_network " in done.stdout
    assert "login with *** failed" in refused.stdout
    assert "testcloud" in refused.stdout


def test_a_token_obtained_at_run_time_is_masked() -> None:
    token = "planted-at-run-time"
    with LoopbackCloud() as cloud, nova_on(cloud) as driver:
        cloud.fault(
            Fault(
                "POST",
                "/auth/tokens",
                status=201,
                body={"token": token_of(cloud)},
                headers={"X-Subject-Token": token},
            )
        )
        body = {"forbidden": {"message": f"{token} is invalid"}}
        cloud.fault(Fault("GET", DETAILS, status=403, body=body))

        with pytest.raises(CloudRefused) as caught:
            driver.list_devices(10.0)

    assert "*** is invalid" in str(caught.value)


def test_an_unknown_password_in_an_address_is_masked() -> None:
    assert secrecy.masked("to http://u:p/w@h:1/a@b?c") == (
        "to http://u:p/w@h:1/a@b?c"
    )
    assert secrecy.masked("to http://u:p@w@h:1/a@b") == "to http://***@h:1/a@b"


def test_the_library_does_not_configure_logging() -> None:
    (handler,) = logging.getLogger("poolmgr").handlers
    assert isinstance(handler, logging.NullHandler)
