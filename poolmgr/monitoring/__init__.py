"""The health, the metrics and the status page of a worker, over HTTP."""
