"""A worker's health, metrics and status page, over HTTP.

The core knows nothing of this: it tells an observer, which here counts, and is
asked for its state.
"""
