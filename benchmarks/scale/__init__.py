"""How the cost of observing grows: with processes, models, events, segments and days."""
