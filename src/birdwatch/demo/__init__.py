"""The whole story on a year of real flights, on one machine."""
