"""Coverage-guided fuzzing of everything that parses foreign bytes.

A target is a module with ``SEEDS`` and ``one(data)``, which must not raise for
any data.  ``python -m fuzz`` runs the targets with Atheris; the tests run each
briefly with Hypothesis.
"""

TARGETS = (
    "admin",
    "cloud",
    "connections",
    "marks",
    "message",
    "names",
    "packets",
    "text",
)
