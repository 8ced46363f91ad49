"""What is public is said in `__all__`, sorted, and is there."""

import ast
import importlib
import inspect
import pkgutil

import pytest

import birdwatch

NAMES = ["birdwatch", *sorted(module.name for module in pkgutil.walk_packages(birdwatch.__path__, "birdwatch."))]


@pytest.mark.parametrize("name", NAMES)
def test_a_module_says_what_is_public_and_has_it(name):
    module = importlib.import_module(name)
    if len(ast.parse(inspect.getsource(module)).body) > 1:  # a package may be no more than its docstring
        assert module.__all__ == isort(module.__all__)
        assert [public for public in module.__all__ if not hasattr(module, public)] == []


def isort(names):
    """Sort as ruff does: constants, then classes, then the rest."""

    def kind(name):
        return 0 if name.isupper() else 1 if name[:1].isupper() else 2

    return sorted(names, key=lambda name: (kind(name.lstrip("_")), name))
