"""The gate for CI: the same rules over two files."""
