"""External state, injected once before any model: the plug-in, what it remembers, and how another takes over."""
