"""Runs jobs: parses messages, runs actions, answers once."""
