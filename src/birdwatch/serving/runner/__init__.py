"""One process a model: loads versions of it, scores what waits, says who did it and how long it took."""
