"""Label Studio, HTTP, the queue and the user: the service around `agent` and `model`."""
