"""The report of a run as tables for people."""

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from birdwatch.demo.flights import time_of
from birdwatch.demo.report import Report
from birdwatch.detect.attribution import INPUTS_CHANGED

__all__ = ["show"]


def show(report: Report, console: Console) -> None:
    """Print a report."""
    for table in (_serving(report), _changes(report), _alerts(report), _days(report)):
        console.print(table)


def _serving(report: Report) -> RenderableType:
    table = Table("serving", "", title=f"{time_of(report.since)} to {time_of(report.until)}", box=box.SIMPLE)
    answered = f"{report.answers:,}, {report.answers_within_sla:,} of them within {report.deadline_seconds:g} s"
    table.add_row("requests", f"{report.requests:,}")
    table.add_row("answers", answered)
    table.add_row("latency", f"p50 {_ms(report.latency_seconds.p50)}, p99 {_ms(report.latency_seconds.p99)}")
    table.add_row("first choice", _share(report.first_choice_share, 2))
    table.add_row("answered by", ", ".join(f"{model} {count:,}" for model, count in report.answers_by_model.items()))
    table.add_row("by the canary", f"{report.canary_answers:,} (must be 0)")
    table.add_row("scores", ", ".join(f"{model} {count:,}" for model, count in report.scores.items()))
    return table


def _changes(report: Report) -> RenderableType:
    table = Table("time", "change", "by", "why", title="deployment", box=box.SIMPLE)
    for change in report.changes:
        why = f"{change.reason} – refused: {change.refused}" if change.refused else change.reason
        table.add_row(time_of(change.ts), Text(change.what), change.author, Text(why))
    table.caption = "; ".join(
        f"{one.model} {one.version} answered {one.answers:,} of {one.of:,} flights while it had {one.percent:g} % of them"
        for one in report.ramped
    )
    return table


def _alerts(report: Report) -> RenderableType:
    if not report.alerts:
        return "No alerts."
    table = Table("fired", "over", "severity", "rule", "cause", "about", "delivered", title="alerts", box=box.SIMPLE)
    quiet = sum(alert.severity == "info" for alert in report.alerts)
    table.caption = f"and {quiet} for information, which ask nothing of anybody" if quiet else None
    for alert in report.alerts:
        if alert.severity == "info":
            continue
        about = " ".join(part for part in (alert.model, alert.version) if part) or "all models"
        over = "" if alert.resolved is None else time_of(alert.resolved)
        about += "" if alert.after is None else f" (after {alert.after:,} requests)"
        delivered = "yes" if alert.delivered else "no"
        table.add_row(time_of(alert.ts), over, alert.severity, alert.rule, alert.attribution, about, delivered)
    return table


def _days(report: Report) -> RenderableType:
    days = report.days
    title = f'tickets "{INPUTS_CHANGED}" beside the truth, which no detector saw'
    caption = (
        f"{days.judged} days, {days.disrupted} disrupted (35 % late or 10 % cancelled); {days.called} called:"
        f" precision {_with_interval(days.hits, days.called)}, recall {_with_interval(days.hits, days.disrupted)}"
    )
    table = Table(
        "day", "ticket", "disrupted", "late", "cancelled", "flights", title=title, caption=caption, box=box.SIMPLE
    )
    for day in days.days:
        ticket = "fired" if day.fired else "still open" if day.called else "–"
        table.add_row(
            day.day,
            ticket,
            "yes" if day.disrupted else "–",
            _share(day.late),
            _share(day.cancelled),
            f"{day.flights:,}",
        )
    return table


def _with_interval(hits: int, of: int) -> str:
    """Write a share with its 95 % interval (Wilson's score): so few days leave much open.

    >>> _with_interval(6, 6), _with_interval(0, 0)
    ('100% (61-100%)', '–')
    """
    from statsmodels.stats.proportion import proportion_confint  # noqa: PLC0415 - takes seconds to import

    if not of:
        return "–"
    low, high = proportion_confint(hits, of, method="wilson")
    return f"{hits / of:.0%} ({low * 100:.0f}-{high:.0%})"


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:.1f} ms"


def _share(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}%}"
