"""How fast the dashboard opens and refreshes over the store of a large fleet."""
