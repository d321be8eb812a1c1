"""What the project's own checks and releases are made with."""
