"""What is imported inside OpenStack's own processes."""
