"""Workers that are killed at any moment, and what is left of it.

``python -m tests.chaos --minutes 60`` goes on for an hour.
"""
