"""The configuration: files, environment, command line."""
