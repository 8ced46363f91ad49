"""How fast the gate answers over two files of many million requests."""
