"""Commands of the pages that the tests do not run, with the reasons."""

from collections.abc import Mapping

from tests.docs.steps import Step

ROOT = "needs root, and would change this machine"
ENVIRONMENT = "would change the environment that the tests run in"
LONG = "runs for minutes, and CI or a release does so"
_AS_ROOT = (
    *("apt-get install", "cp etc/systemd/", "cp own.conf", "install -m"),
    *("mkdir /etc/", "sudo ", "systemctl ", "systemd-"),
)

#: By the start of the command. Their options are still checked where a parser
#: is available.
EXCUSED: Mapping[str, str] = {
    **dict.fromkeys(_AS_ROOT, ROOT),
    "openstack ": "the tests do not install OpenStack's own client",
    "pip install": ENVIRONMENT
    + "; tests/docs/test_tutorial.py does so in another",
    "python3 -m venv": ENVIRONMENT,
    "podman ": "no container engine takes part in the tests",
    "sphinx-build -b man": "docs/test_manual.py builds it",
    "python -m pytest": "docs/test_tutorial.py runs the tests of the example",
    "./dev ": "sets up an environment of its own, or a cloud",
    "python -m benchmarks": LONG,
    "python -m tests.chaos": LONG,
    'eval "$(poolmgr complete --shell zsh)"': "zsh; see test_complete.py",
}

#: Pages whose commands test_tls_page.py and test_tutorial.py run.
OF_THEIR_OWN = ("tls.rst", "tutorial.rst")


def excuse(step: Step) -> str | None:
    """Return why a command is not run, or None if it is."""
    starts = [step.command, *(f"{' '.join(words)} " for words in step.simple)]
    for start, reason in EXCUSED.items():
        if any(each.startswith(start) for each in starts):
            return reason
    return None
