"""Real Apache Kafka: how to have one in tests, and the tests that need it."""
