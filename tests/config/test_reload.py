"""Tests of SIGHUP, which reloads the configuration."""

import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolmgr import Job, PoolManager, PoolSettings
from poolmgr.actions.base import Action, Context
from poolmgr.config.configuration import Configuration
from poolmgr.config.options import list_opts
from poolmgr.config.reload import Reload
from poolmgr.drivers.fake import FakeCloud
from poolmgr.errors import ConfigError, NotFound
from poolmgr.gearman.endpoint import Address
from poolmgr.settings import WorkerSettings, options_of
from tests.batches import BUILD, BUILD_IP, ask, submit
from tests.clouds import fake_devices
from tests.environments import plugin_beside, visible
from tests.jobservers import JobServerProcess, builtin
from tests.polling import until
from tests.processes import Process, worker

UNKNOWN = {"action": "NOPE"}


def hang_up(process: Process, config: Path, text: str) -> None:
    """Replace the configuration file and send SIGHUP."""
    config.write_text(text)
    process.signal(signal.SIGHUP)


@contextmanager
def serving(
    *options: str, **environment: str
) -> Iterator[tuple[Process, Address]]:
    """Run a worker with a job server, and wait until it is registered."""
    with builtin() as server:
        own = ("--gearman-server", str(server.address), "worker")
        process = Process([*options, *own], **environment)
        try:
            process.wait_for("registered")
            yield process, server.address
        finally:
            process.end()


# -- a worker ---------------------------------------------------------------


def test_a_reload_raises_the_number_of_builds(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = tmp_path / "cloud.db"
    text = f"[fake]\nstate = {state}\nboot_time = 3600\n"
    text += "[worker]\nlong_jobs = "
    with worker([str(job_server.address)], text + "1", tmp_path) as process:
        process.wait_for("registered")
        submit(job_server.address, *[BUILD] * 3)
        until(lambda: len(fake_devices(state)) == 1)

        hang_up(process, tmp_path / "worker.conf", text + "2")

        assert process.wait_for("[worker] long_jobs: 1 -> 2\n")
        until(lambda: len(fake_devices(state)) == 2)
        # The third build still waits.
        ask(job_server.address, BUILD_IP)
        assert len(fake_devices(state)) == 2


def test_a_reload_shortens_draining(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = tmp_path / "cloud.db"
    text = f"[fake]\nstate = {state}\nboot_time = 3600\n"
    with worker([str(job_server.address)], text, tmp_path) as process:
        process.wait_for("registered")
        answers = submit(job_server.address, BUILD)
        until(lambda: len(fake_devices(state)) == 1)
        process.signal(signal.SIGTERM)
        process.wait_for("draining, 1 of ")

        text += "[worker]\ndrain_timeout = 0.1\n"
        hang_up(process, tmp_path / "worker.conf", text)

        assert process.exit_code() == 3
        assert answers()[0]["response"] == "FAIL"


def of_file(folder: Path) -> tuple[Path, list[str], dict[str, str]]:
    path = folder / "mine.conf"
    return path, ["--config-file", str(path)], {}


def of_folder(folder: Path) -> tuple[Path, list[str], dict[str, str]]:
    path = folder / "mine.conf"
    return path, ["--config-dir", str(folder)], {}


def of_home(folder: Path) -> tuple[Path, list[str], dict[str, str]]:
    path = folder / ".poolmgr" / "poolmgr.conf"
    path.parent.mkdir()
    return path, [], {"HOME": str(folder)}


@pytest.mark.parametrize("kind", [of_file, of_folder, of_home])
def test_files_in_all_places_are_reloaded(
    kind: Callable[[Path], tuple[Path, list[str], dict[str, str]]],
    tmp_path: Path,
) -> None:
    path, options, environment = kind(tmp_path)
    path.write_text("[poolmgr]\nexplain_failures = false\n")
    options += ["--driver", "fake"]
    with serving(*options, **environment) as (process, address):
        before = ask(address, UNKNOWN)
        hang_up(process, path, "[poolmgr]\nexplain_failures = true\n")
        process.wait_for("[poolmgr] explain_failures: False -> True")
        # The change takes effect right after it is logged.
        until(lambda: "error" in ask(address, UNKNOWN))

    assert "error" not in before
    # The command line takes precedence, as at the start.
    assert not any("needs a restart" in line for line in process.lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[worker]\nlong_jobs = 0\n", "long_jobs"),
        ("[poolmgr]\nexplain_failures = true\n[reaper]\nmode = x\n", "mode"),
        ("[poolmgr]\nexplain_failures = true\n[fake]\nip_range = x", "range"),
        ("explain_failures = true\n", "mine.conf"),
        (None, "mine.conf"),
    ],
)
def test_an_invalid_file_changes_nothing(
    text: str | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.conf"
    path.write_text("[poolmgr]\nexplain_failures = false\n")
    options = ["--config-file", str(path), "--driver", "fake"]
    with serving(*options) as (process, address):
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        process.signal(signal.SIGHUP)
        line = process.wait_for("configuration not reloaded")
        answer = ask(address, UNKNOWN)
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0

    assert words in line
    assert answer == {**UNKNOWN, "response": "FAIL"}
    assert "Traceback" not in "".join(process.lines)


def test_a_reload_reports_unknown_options(tmp_path: Path) -> None:
    path = tmp_path / "worker.conf"
    with builtin() as server:
        config = "[poolmgr]\n"
        with worker([str(server.address)], config, tmp_path) as process:
            process.wait_for("registered")

            hang_up(process, path, "[poolmgr]\nexplain_failure = true\n")

            line = process.wait_for("[poolmgr] explain_failure in")
            hang_up(process, path, "[workr]\nlong_jobs = 3\n")
            group = process.wait_for("[workr] long_jobs in")

    assert "WARNING" in line
    assert f" in {path}, line 2 has no effect: " in line
    assert "did you mean [poolmgr] explain_failures?" in line
    assert "did you mean [worker] long_jobs?" in group


def test_a_missing_driver_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.conf"
    path.write_text("[poolmgr]\ndriver = fake\n")
    with serving("--config-file", str(path)) as (process, _address):
        hang_up(process, path, "[poolmgr]\ndriver = fkae\n")
        line = process.wait_for("configuration not reloaded")

    assert "'fkae'" in line


PICKY_DRIVER = """
    from dataclasses import dataclass
    from poolmgr.drivers.fake import FakeCloud, FakeSettings

    @dataclass(frozen=True)
    class Settings(FakeSettings):
        \"\"\"The group ``[picky]``.\"\"\"

        def __post_init__(self):
            if self.device_quota == 7:
                raise TypeError("not 7")

    class Picky(FakeCloud):
        Settings = Settings
"""


def test_an_unexpected_error_of_a_drivers_settings_changes_nothing(
    tmp_path: Path,
) -> None:
    plugin = plugin_beside(
        tmp_path, PICKY_DRIVER, poolmgr__drivers="picky = stranger:Picky"
    )
    path = tmp_path / "mine.conf"
    text = "[poolmgr]\ndriver = picky\n"
    path.write_text(text)
    options = ["--config-file", str(path)]
    with serving(*options, **visible(plugin)) as (process, address):
        hang_up(process, path, text + "[picky]\ndevice_quota = 7\n")
        line = process.wait_for("configuration not reloaded")
        answer = ask(address, BUILD_IP)
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0

    assert "not 7" in line
    assert answer["response"] == "PASS"


def test_a_missing_default_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path, _options, _environment = of_home(tmp_path)
    path.write_text("[worker]\nlong_jobs = 3\n")
    conf = Configuration()
    assert conf.reread().worker().long_jobs == 3
    path.unlink()

    # While an editor replaces the file, the defaults must not return.
    with pytest.raises(ConfigError, match=r"poolmgr\.conf cannot be read"):
        conf.reread()


def test_changes_that_need_a_restart_are_logged_each_time(
    tmp_path: Path,
) -> None:
    with builtin() as server:
        servers = [str(server.address)]
        with worker(servers, "[worker]\n", tmp_path) as process:
            process.wait_for("registered")
            text = "[poolmgr]\nbasename = other\n[fake]\nboot_time = 5\n"
            hang_up(process, tmp_path / "worker.conf", text)
            process.wait_for("[fake] boot_time: 0.0 -> 5.0 needs a restart")
            process.signal(signal.SIGHUP)
            process.wait_for("[fake] boot_time: 0.0 -> 5.0 needs a restart")

            answer = ask(server.address, BUILD)

    assert answer["name"].startswith("libra-")
    named = "[poolmgr] basename: 'libra' -> 'other' needs a restart"
    assert len([line for line in process.lines if named in line]) == 2


def test_a_reload_changes_the_log_level(tmp_path: Path) -> None:
    path = tmp_path / "worker.conf"
    with builtin() as server:
        servers = [str(server.address)]
        with worker(servers, "[worker]\n", tmp_path) as process:
            process.wait_for("registered")
            hang_up(process, path, "[worker]\nlog_level = debug\n")
            process.wait_for("'info' -> 'debug'")
            hang_up(process, path, "[worker]\nlog_level = error\n")
            process.wait_for("'debug' -> 'error'")
            wait_until_applied(process, path)
            submit(server.address, UNKNOWN, uniques=("quiet",))()
            hang_up(process, path, "[worker]\n")
            # At level error this change itself is not logged.
            until(lambda: logs_jobs(process, server))

    assert not any("unique=quiet" in line for line in process.lines)


def wait_until_applied(process: Process, config: Path) -> None:
    """Wait until a logged change is in effect.

    Reloads run one after the other, so it is in effect once the next reload
    has failed, which is logged at any level.
    """
    hang_up(process, config, "[worker]\nlong_jobs = x\n")
    process.wait_for("configuration not reloaded")


def logs_jobs(process: Process, server: JobServerProcess) -> bool:
    """Return whether jobs are logged."""
    ask(server.address, UNKNOWN)
    return any("outcome=FAIL" in line for line in process.lines)


def test_quiet_takes_precedence_over_log_level(tmp_path: Path) -> None:
    path = tmp_path / "worker.conf"
    path.write_text("[worker]\nlog_level = debug\n")
    with builtin() as server:
        options = ["--quiet", "--driver", "fake", "--config-file", str(path)]
        options += ["--gearman-server", str(server.address)]
        process = Process([*options, "worker"])
        try:
            ask(server.address, BUILD_IP)
            hang_up(process, path, "[worker]\nlong_jobs = x\n")
            process.wait_for("configuration not reloaded")
        finally:
            process.end()

    assert not any(" INFO " in line for line in process.lines)


def test_jobs_pass_during_hundreds_of_signals(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    servers = [str(job_server.address)]
    with worker(servers, "[worker]\n", tmp_path) as process:
        process.wait_for("registered")
        answers = submit(job_server.address, *[BUILD_IP] * 200)
        for _time in range(200):
            process.signal(signal.SIGHUP)
            process.signal(signal.SIGUSR2)
        assert {a["response"] for a in answers()} == {"PASS"}
        process.signal(signal.SIGTERM)

        assert process.exit_code() == 0


# -- jobs in flight ---------------------------------------------------------


def test_jobs_in_flight_keep_their_settings_and_deadline(
    cloud: FakeCloud,
) -> None:
    go_on, entered = threading.Event(), threading.Semaphore(0)

    class Seen(Action[object]):
        """Return a setting."""

        @dataclasses.dataclass(frozen=True)
        class Request:
            """No fields."""

        takes = Request
        answers = ("port",)

        def run(self, request: object, context: Context) -> dict[str, object]:
            entered.release()
            assert go_on.wait(60.0)
            if context.job.unique == "c":
                raise NotFound("device", "x")
            return {"port": context.settings.check_port}

    before = PoolSettings(short_timeout=50.0, check_port=1)
    after = PoolSettings(
        short_timeout=70.0, check_port=2, explain_failures=True
    )
    with PoolManager(cloud, before, {"SEEN": Seen}) as manager:
        first = manager.submit({"action": "SEEN"}, Job("a", ""))
        fails = manager.submit({"action": "SEEN"}, Job("c", ""))
        assert entered.acquire(timeout=60.0)
        assert entered.acquire(timeout=60.0)
        manager.adopt(after)
        second = manager.submit({"action": "SEEN"}, Job("b", ""))
        assert entered.acquire(timeout=60.0)
        limits = {each.job.unique: each.limit for each in manager.running()}
        go_on.set()
        ports = [s.future.result(60.0).answer["port"] for s in (first, second)]

        failed = fails.future.result(60.0).answer

    assert ports == [1, 2]
    assert failed == {"action": "SEEN", "response": "FAIL"}
    assert limits["b"] - limits["a"] == pytest.approx(20.0)


# -- log lines --------------------------------------------------------------


def test_a_changed_secret_is_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mine.conf"
    path.write_text("[nova]\npassword = planted-old\n")
    conf = Configuration([str(path)])
    reload = Reload(conf)
    path.write_text("[nova]\npassword = planted-new\n")

    reload.run()

    assert "[nova] password: *** -> *** needs a restart" in caplog.text
    assert "planted" not in caplog.text


def test_a_changed_value_is_logged_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mine.conf"
    path.write_text("")
    conf = Configuration([str(path)])
    reload = Reload(conf)
    path.write_text("[poolmgr]\naz = a\x1b[2J\n  b\n")

    reload.run()

    (message,) = [r.getMessage() for r in caplog.records if "az" in r.message]
    assert message.isprintable()


def test_an_invalid_value_of_the_current_driver_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "worker.conf"
    path.write_text("[poolmgr]\ndriver = fake\n")
    reload = Reload(Configuration([str(path)]))
    path.write_text("[poolmgr]\ndriver = nova\n[fake]\nip_quota = -1\n")

    reload.run()

    assert "configuration not reloaded: [fake] ip_quota in" in caplog.text


def test_monitoring_needs_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "worker.conf"
    path.write_text("")
    reload = Reload(Configuration([str(path)]))
    path.write_text("[monitoring]\nport = 1\n")

    reload.run()

    assert "[monitoring] port: 9473 -> 1 needs a restart" in caplog.text
    assert "no changes" not in caplog.text


def test_a_reload_without_changes_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    conf = Configuration([os.devnull])
    reload = Reload(conf)

    reload.run()

    assert "configuration reloaded: no changes" in caplog.text


def test_mutable_options_are_declared_in_settings() -> None:
    own = options_of("worker", WorkerSettings)
    mutable = {option.name for option in own if option.mutable}
    options = dict(list_opts())["worker"]

    assert mutable == {option.name for option in options if option.mutable}
    assert "drain_timeout" in mutable
    assert "function" not in mutable
