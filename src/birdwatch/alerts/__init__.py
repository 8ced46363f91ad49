"""From verdicts to people: an alert's lifecycle, the outbox, the sinks."""
