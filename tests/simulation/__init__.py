"""The worker on the broker in memory."""
