"""The kinds of model that need no code of one's own: a file, or the address of one that is served elsewhere."""

from typing import Final

__all__ = ["KINDS"]

KINDS: Final = {
    "onnx": "birdwatch.serving.runner.loaders.onnx:load",
    "oip": "birdwatch.serving.runner.loaders.oip:load",
    "pickle": "birdwatch.serving.runner.loaders.pickled:load",
    "skops": "birdwatch.serving.runner.loaders.skops:load",
}
"""What may be named in place of ``module:function``: each is a factory, and its artifact a file, or for ``oip`` a URL."""
