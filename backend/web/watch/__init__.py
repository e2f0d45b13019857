"""What operators ask of `mgral serve`: metrics for Prometheus, whether it is ready, and the id of each request."""
