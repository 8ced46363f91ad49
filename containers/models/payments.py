"""Models to begin with: how likely is a payment to be a fraud? Put your own beside them, or in their place."""

# ruff: noqa: INP001 - it is found in the folder that is mounted
import math
from typing import Any

__all__ = ["canary", "challenger", "champion", "fallback"]

Payments = list[dict[str, Any]]


def champion(payments: Payments) -> list[float]:
    """Suspect large payments at night."""
    return [_logistic(-6 + 0.6 * math.log1p(payment["amount"]) + 1.5 * _at_night(payment)) for payment in payments]


def challenger(payments: Payments) -> list[float]:
    """Suspect what the champion does, and customers of long standing less."""
    return [
        _logistic(-5.5 + 0.6 * math.log1p(payment["amount"]) + 1.2 * _at_night(payment) - 0.3 * payment.get("years", 2))
        for payment in payments
    ]


def fallback(payments: Payments) -> list[float]:
    """Take three steps by the amount: nothing in it can be slow or go wrong."""
    return [0.01 if payment["amount"] < 100 else 0.05 if payment["amount"] < 1000 else 0.2 for payment in payments]


def canary(payments: Payments) -> list[float]:
    """Score as the champion of last year did; it is never changed."""
    return [_logistic(-5.8 + 0.6 * math.log1p(payment["amount"]) + 1.2 * _at_night(payment)) for payment in payments]


def _at_night(payment: dict[str, Any]) -> bool:
    return payment["hour"] < 6 or payment["hour"] >= 22


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
