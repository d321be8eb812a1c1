"""Orphans, which no job owns: found, explained, deleted."""
