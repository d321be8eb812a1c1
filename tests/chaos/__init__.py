"""Kill -9 at many moments: what is answered is there, and nothing else is.

``python -m tests.chaos --minutes 60`` runs for an hour; see
"Kill workers" in ``doc/source/tests.rst``.
"""
