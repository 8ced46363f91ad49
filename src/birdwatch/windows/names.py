"""Numbers for names: what is counted by the million is counted by small integers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Names"]


class Names:
    """Numbers for names: (model, version) pairs become small integers, the same for as long as the process lives.

    So do the arms that were drawn among; 0 stands for none.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.arms: list[tuple[str, ...]] = [()]
        self._codes: dict[tuple[str, str], int] = {}
        self._arms_codes: dict[tuple[str, ...], int] = {(): 0}

    def code(self, pair: tuple[str, str]) -> int:
        """Give the number of a pair, a new one when it is new."""
        code = self._codes.get(pair)
        if code is None:
            code = self._codes[pair] = len(self.pairs)
            self.pairs.append(pair)
        return code

    def arms_code(self, arms: tuple[str, ...]) -> int:
        """Give the number of a row of arms, a new one when it is new."""
        code = self._arms_codes.get(arms)
        if code is None:
            code = self._arms_codes[arms] = len(self.arms)
            self.arms.append(arms)
        return code

    def codes(self, models: Sequence[str], versions: Sequence[str]) -> NDArray[np.int64]:
        """Give the numbers of many pairs."""
        found = list(map(self._codes.get, zip(models, versions, strict=True)))
        if None in found:
            found = [self.code(pair) for pair in zip(models, versions, strict=True)]
        return np.array(found, dtype=np.int64)
