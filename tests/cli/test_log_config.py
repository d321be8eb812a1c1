"""Tests of ``--log-config-append``, a file of Python's logging."""

from pathlib import Path

import pytest

from poolmgr.testing.openstack import LoopbackCloud
from tests.processes import poolmgr

CONFIG = """\
[loggers]
keys = root
[handlers]
keys = file
[formatters]
keys = mine
[logger_root]
level = DEBUG
handlers = file
[handler_file]
class = FileHandler
formatter = mine
args = ({log!r},)
[formatter_mine]
format = mine %(levelname)s %(name)s [%(request_id)s] %(message)s
"""


def test_a_logging_file_sets_handlers_and_formats(tmp_path: Path) -> None:
    config, log = tmp_path / "logging.conf", tmp_path / "log"
    config.write_text(CONFIG.format(log=str(log)))

    done = poolmgr(
        *("--log-config-append", str(config), "--log-format", "json"),
        *("--driver", "fake", "delete-ip", "192.0.2.1"),
    )

    assert done.returncode == 1
    assert done.stderr == "poolmgr: there is no floating IP '192.0.2.1'\n"
    (end,) = (x for x in log.read_text().splitlines() if "outcome=" in x)
    assert end.startswith("mine WARNING poolmgr.jobs.log [req-")


def test_secrets_are_masked_and_control_characters_escaped(
    tmp_path: Path,
) -> None:
    config, log = tmp_path / "logging.conf", tmp_path / "log"
    config.write_text(CONFIG.format(log=str(log)))
    with LoopbackCloud() as cloud:
        clouds = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
        poolmgr(
            *("--log-config-append", str(config), "--os-cloud", "loopback"),
            *("delete-device", "libra-1"),
            OS_CLIENT_CONFIG_FILE=str(clouds),
        )

    assert cloud.credentials["password"] not in log.read_text()
    lines = log.read_text().splitlines()
    assert any("outcome=FAIL" in line for line in lines)
    assert all(x.startswith("mine ") and x.isprintable() for x in lines)
    # keystoneauth logs request bodies, which contain secrets.
    assert not any("keystoneauth" in line for line in lines)


def test_an_error_is_printed_once_if_the_file_logs_to_standard_error(
    tmp_path: Path,
) -> None:
    config = tmp_path / "logging.conf"
    text = CONFIG.replace("FileHandler", "StreamHandler")
    config.write_text(text.replace("{log!r},", "sys.stderr,"))

    done = poolmgr("--log-config-append", str(config), "nope")

    assert done.returncode == 2
    assert done.stderr.count("'nope' is not a command") == 1
    assert done.stderr.startswith("mine ERROR poolmgr.cli [-] ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("nonsense", "no section headers"),
        ("[mgm]\naz = 1\n", "no section or option 'formatters'"),
        (
            CONFIG.replace("[handler_file]", "[other]"),
            "cannot be used: it has no section or option 'handler_file'",
        ),
        (
            CONFIG.replace("handlers = file", "handlers = zz").replace(
                "{log!r}", "'/dev/null'"
            ),
            "cannot be used: it has no section or option 'zz'",
        ),
        (CONFIG.replace("FileHandler", "no.Such"), "No module named 'no'"),
    ],
)
def test_an_unusable_logging_file_is_reported_in_one_line(
    text: str | None, words: str, tmp_path: Path
) -> None:
    config = tmp_path / "logging.conf"
    if text is not None:
        config.write_text(text)

    done = poolmgr("--log-config-append", str(config), "plugin", "list")

    assert (done.returncode, done.stdout) == (1, "")
    start = f"poolmgr: --log-config-append {str(config)!r} "
    assert done.stderr.startswith(start)
    assert words in done.stderr
    assert "TextIOWrapper" not in done.stderr
    assert done.stderr.count("\n") == 1
