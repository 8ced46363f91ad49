"""How soon a change is found, how often none is, and what it costs."""
