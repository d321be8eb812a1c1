"""Tests of options in files, in the environment and on the command line."""

import subprocess
import sys
from pathlib import Path

import pytest
from oslo_config import generator

from poolmgr.config.configuration import Configuration
from poolmgr.config.options import list_opts
from poolmgr.config.remarks import log_remarks
from poolmgr.drivers.base import Driver
from poolmgr.drivers.fake import FakeCloud
from poolmgr.drivers.nova import NovaCloud
from poolmgr.errors import ConfigError
from poolmgr.plugins import Registry

SAMPLE = Path(__file__).parents[2] / "etc" / "poolmgr.conf.sample"

#: Every option of Libra's Pool Manager, with a typical value.
LIBRA_CFG = """\
[DEFAULT]
debug = true

[mgm]
az = 3
node_basename = libra_stg_haproxy
nova_auth_url = https://keystone.example.com:35357/v2.0/
nova_user = libra
nova_pass = planted-secret
nova_tenant = libra
nova_tenant_id = 4711
nova_region = az-3.region-a.geo-1
nova_keyname = libra-key
nova_secgroup = libra
nova_image = 12345
nova_image_size = standard.medium
nova_az_name = az3
nova_net_id = 6f70656e-7374-6163-6b21-000000000000
nova_insecure = true
nova_bypass_url = https://nova.example.com/v1.1/
rm_fip_ignore_500 = true
tcp_check_port = 8080
threads = 8
build_diag_timeout = 10
nova_timeout = 5

[gearman]
servers = localhost:4730, gearman-2.example.com:4731
keepalive = true
keepcnt = 5
keepidle = 20
keepintvl = 7
poll = 1
reconnect_sleep = 60
"""


@pytest.fixture
def configuration(tmp_path: Path) -> "Configure":
    return Configure(tmp_path)


class Configure:
    """A maker of configurations from the text of a file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "poolmgr.conf"

    def __call__(self, text: str = "") -> Configuration:
        self._file.write_text(text)
        return Configuration([str(self._file)])


def test_defaults_apply_without_a_file(
    configuration: Configure,
) -> None:
    conf = configuration()

    assert conf.driver_name() == "nova"
    assert conf.gearman().servers == ("localhost:4730",)
    assert conf.worker().function == "libra_pool_mgm"
    assert conf.pool().authority == "pattern"
    assert conf.pool().check_port is None


def test_a_file_sets_options(configuration: Configure) -> None:
    conf = configuration(
        "[poolmgr]\ndriver = fake\nexplain_failures = yes\n"
        "long_timeout = 1.5\n"
        "[worker]\nshort_jobs = 7\n"
        "[gearman]\nservers = a, b:1\n"
        "[fake]\nboot_time = 0.25\nimage = i\n"
    )

    assert conf.pool().explain_failures is True
    assert conf.pool().long_timeout == 1.5
    assert conf.worker().short_jobs == 7
    assert conf.gearman().servers == ("a", "b:1")
    driver = conf.make_driver()
    assert isinstance(driver, FakeCloud)
    assert driver.image == "i"
    driver.close()


def test_the_environment_sets_options(
    configuration: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_POOLMGR__AZ", "7")

    assert configuration().pool().az == "7"


def test_the_command_line_takes_precedence(configuration: Configure) -> None:
    conf = configuration("[poolmgr]\ndriver = nova\n[gearman]\nservers = a\n")

    conf.use("--driver", ("poolmgr", "driver"), "fake")
    conf.use("--gearman-server", ("gearman", "servers"), "b:1, c:2")

    assert conf.driver_name() == "fake"
    assert conf.gearman().servers == ("b:1", "c:2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[worker]\nlong_jobs = 0\n", "long_jobs"),
        ("[worker]\nlong_jobs = many\n", "long_jobs"),
        ("[poolmgr]\nauthority = all\n", "authority"),
        ("[poolmgr]\nbasename = a/b\n", ": must be at most 26 letters"),
        ("[poolmgr]\npool = a/b\n", ": must be 1 to 40 letters"),
        ("[poolmgr]\ncheck_port = 70000\n", "check_port"),
        ("[gearman]\nservers =\n", "line 2: is empty"),
        ("[fake]\nip_range = x\n", "ip_range"),
        ("[poolmgr]\ndriver = nope\n", "nope"),
    ],
)
def test_an_invalid_value_is_reported_in_one_line(
    configuration: Configure, text: str, words: str
) -> None:
    conf = configuration(text)
    if "nope" not in text:
        conf.use("--driver", ("poolmgr", "driver"), "fake")

    with pytest.raises(ConfigError) as caught:
        (conf.pool(), conf.worker(), conf.gearman())
        conf.make_driver()

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [None, b"no section\n", b"[a\n", b"\x7fELF\xff\xfe"]
)
def test_a_file_that_cannot_be_read_is_reported(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "mine.conf"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"mine\.conf") as caught:
        Configuration([str(path)])

    assert "\n" not in str(caught.value)


# -- libra.cfg --------------------------------------------------------------


def test_libra_cfg_is_read(configuration: Configure) -> None:
    conf = configuration(LIBRA_CFG)

    pool, worker, gearman = conf.pool(), conf.worker(), conf.gearman()
    assert (pool.az, pool.basename) == ("3", "libra_stg_haproxy")
    assert pool.check_port == 8080
    assert worker.long_jobs == 8
    assert gearman.servers == ("localhost:4730", "gearman-2.example.com:4731")
    assert gearman.keepalive is True
    assert (gearman.keepcnt, gearman.keepidle, gearman.keepintvl) == (5, 20, 7)
    assert gearman.reconnect_sleep == 60.0


def test_every_option_of_libra_cfg_is_used_or_reported(
    configuration: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    conf = configuration(LIBRA_CFG)
    conf.use("--driver", ("poolmgr", "driver"), "fake")

    log_remarks(conf)

    text = "\n".join(record.getMessage() for record in caplog.records)
    kept = {"servers", "keepalive", "keepcnt", "keepidle", "keepintvl"}
    kept |= {"reconnect_sleep"}
    names = {
        line.split(" =")[0] for line in LIBRA_CFG.splitlines() if "=" in line
    }
    for name in names - kept:
        assert name in text, name
    assert "planted-secret" not in text


def test_a_deprecated_name_is_logged_once(
    configuration: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    conf = configuration(LIBRA_CFG)

    log_remarks(conf)
    for _thrice in range(3):
        conf.pool()

    warnings = [r for r in caplog.records if "node_basename" in r.getMessage()]
    assert len(warnings) == 1


def test_options_of_another_driver_are_not_taken_for_misspelt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "mine.conf"
    path.write_text("[novax]\ncloud = mine\n[novaa]\ncloud = mine\n")
    given: dict[str, type[Driver]] = {"nova": NovaCloud, "novax": FakeCloud}
    drivers = Registry("driver", "tests.none", Driver, given=given)  # type: ignore[type-abstract]

    conf = Configuration([str(path)])
    conf.drivers = drivers

    log_remarks(conf)

    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].endswith("has no effect: did you mean [nova] cloud?")
    assert messages[0].startswith("[novaa]")
    assert messages[1:] == ["ignored options of other programs: [novax] cloud"]


# -- the sample -------------------------------------------------------------


def test_the_sample_file_is_up_to_date(tmp_path: Path) -> None:
    made = tmp_path / "sample"

    generator.main(
        ["--namespace", "poolmgr", "--output-file", str(made)]
        + ["--wrap-width", "79"]
    )

    generated = made.read_text().replace(" - <No description provided>", "")
    assert SAMPLE.read_text() == generated


def test_the_sample_file_is_valid() -> None:
    conf = Configuration([str(SAMPLE)])

    assert conf.gearman() == Configuration([str(SAMPLE)]).gearman()
    done = subprocess.run(
        [sys.executable, "-m", "oslo_config.validator"]
        + ["--namespace", "poolmgr", "--input-file", str(SAMPLE)],
        check=False,
    )
    assert done.returncode == 0


def test_every_option_has_a_help_text() -> None:
    for group, options in list_opts():
        for option in options:
            assert option.help, (group, option.name)
            assert option.help.strip().endswith("."), (group, option.name)
