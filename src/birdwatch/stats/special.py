"""``scipy.special``, loaded when one of its functions is first asked for: it takes longer than all else that judging needs."""

from typing import Any

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    from scipy import special  # noqa: PLC0415 - what starts should not wait for it

    return getattr(special, name)
