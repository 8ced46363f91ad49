"""Import all that is installed of Birdwatch: a pin that is too loose often shows at import already."""

import importlib
import pkgutil

import birdwatch

# `all` leaves PySpark out.
names = sorted(
    module.name
    for module in pkgutil.walk_packages(birdwatch.__path__, "birdwatch.")
    if module.name.split(".")[1] != "spark"
)
for name in names:
    importlib.import_module(name)
print(f"{len(names)} modules imported from {birdwatch.__path__[0]}")
