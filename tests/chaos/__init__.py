"""Kill workers with SIGKILL at many moments: only answered resources remain.

``python -m tests.chaos --minutes 60`` runs for an hour; see
"Kill workers" in ``doc/source/tests.rst``.
"""
