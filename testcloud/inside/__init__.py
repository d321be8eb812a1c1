"""Code that runs inside OpenStack's processes."""
