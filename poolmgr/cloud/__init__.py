"""What waits for the cloud, for every driver."""
