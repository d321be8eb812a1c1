"""The project's tools for checks and releases."""
