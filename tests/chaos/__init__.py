"""Kill -9 at many moments: what is answered is there, and nothing else is.

``python -m tests.chaos --minutes 60`` runs for an hour; see the section
"Kill -9" of ``doc/source/testing.rst``.
"""
