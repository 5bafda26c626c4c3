"""What a window of a service's log lines says, beside what its windows usually say."""
