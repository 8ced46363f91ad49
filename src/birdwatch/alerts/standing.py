"""How the budgets stand: what was promised, what of it was spent, and what really fired in the same time."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from birdwatch.alerts.watchdog import WATCHDOG_FINGERPRINT
from birdwatch.detect.duration import say_duration
from birdwatch.detect.spending import Account, account
from birdwatch.detect.verdict import Severity
from birdwatch.records import Alert, decode
from birdwatch.windows.store import Store

__all__ = ["Standing", "count", "fired_by_rule", "in_words", "standing", "standings", "to_json"]

_SEVERITIES: Final[tuple[Severity, ...]] = ("page", "ticket", "info")


class Standing(NamedTuple):
    """A budget over its last period.

    Attributes
    ----------
    account
        The promise, and what was spent of it.
    fired
        Alerts that fired in that time, by rule; those of rules that compare with a number too, which have no budget.
    """

    account: Account
    fired: Mapping[str, int]


def standing(store: Store, severity: Severity = "page", until: int | None = None) -> Standing | None:
    """Say how a budget stands; None while no rule has looked.

    Parameters
    ----------
    store
        As the tail left it; only read.
    severity
        Pages, tickets and infos have a budget each.
    until
        The end of the period in event time; the last look by default.
    """
    found = account(store, severity, until)
    return found and Standing(found, fired_by_rule(store, severity, found.since, found.until))


def standings(store: Store) -> list[Standing]:
    """Say how the budgets stand of all severities of which rules alarm by evidence, the most urgent first."""
    found = (standing(store, severity) for severity in _SEVERITIES)
    return [one for one in found if one is not None and (one.account.spending.rules or one.account.spent)]


def fired_by_rule(store: Store, severity: Severity, since: float, until: float) -> dict[str, int]:
    """Count the alerts of a severity that fired in (since, until] of event time, by rule."""
    if not store.connection.table_exists(None, "outbox"):
        return {}
    rows: Any = store.connection.execute(
        "SELECT record FROM alerts WHERE state = 'firing' AND ts > ? AND ts <= ? AND fingerprint != ?",
        (since, until, WATCHDOG_FINGERPRINT),
    )
    alerts = (decode(record, Alert) for (record,) in rows)
    return dict(sorted(Counter(alert.rule for alert in alerts if alert.severity == severity).items()))


def in_words(found: Standing) -> str:
    """Say what a budget is and how it stands."""
    severity, spending, fired = found.account.severity, found.account.spending, sum(found.fired.values())
    return (
        f"{severity.capitalize()} budget: at most {count(spending.alarms, f'false {severity}')} to be expected in"
        f" {say_duration(spending.per_seconds)}; {found.account.expected:.2g} spent, {found.account.left:.2g} left,"
        f" {count(fired, severity)} fired"
    )


def count(number: float, what: str) -> str:
    """Say how many.

    >>> count(1, "page"), count(0.5, "page")
    ('1 page', '0.5 pages')
    """
    return f"{number:g} {what}{'s' * (number != 1)}"


def to_json(found: Standing) -> dict[str, Any]:
    """Give a standing as plain values."""
    spending, spent = found.account.spending, found.account.spent
    return {
        "severity": found.account.severity,
        "since": found.account.since,
        "until": found.account.until,
        "promised": spending.alarms,
        "per_seconds": spending.per_seconds,
        "spent": found.account.expected,
        "left": found.account.left,
        "fired": dict(found.fired),
        "rules": {
            rule: {
                "subjects": share.subjects,
                "level": share.level,
                "promised": share.promised,
                "tried": share.tried,
                "looks": spent[rule].looks if rule in spent else 0,
                "spent": spent[rule].expected if rule in spent else 0.0,
            }
            for rule, share in spending.rules.items()
        }
        | {
            rule: {"subjects": 0, "level": None, "promised": 0.0, "tried": False, "looks": looks, "spent": expected}
            for rule, (looks, expected) in spent.items()
            if rule not in spending.rules
        },
    }
