"""How fast streams become panes: the tail beside a loop that reads the same and does nothing with it."""
