"""Coverage-guided fuzzing of all that reads foreign bytes.

A target is a module with ``one(data)``, which may raise nothing whatever the
data, and ``SEEDS`` to begin with.  ``python -m fuzz`` runs them with Atheris;
the tests run each for a moment with Hypothesis.
"""

TARGETS = (
    "admin",
    "cloud",
    "links",
    "marks",
    "message",
    "names",
    "packets",
    "text",
)
