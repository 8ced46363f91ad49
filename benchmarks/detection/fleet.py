"""A healthy fleet over a month: whether it pages no more often than the budget says, and how soon a bad model is named.

Five rules of the starter set (`detectors/`), all of which may page here, so that they share the one budget. The four
weeks before are the reference: made by the same process, learned from once for each model, and frozen. Every alarm is
counted as a page, whatever attribution would make of it.

The budget holds as long as change stays within what the reference has seen. So there are two fleets. In the one each
wobble has a bound, which four weeks reach many times, though seldom all at once. In the other they have none, and every
month sees hours that no month before it saw, of the champion say, whom all are compared with.
"""

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.detection.lives import FAULTS, HOUR, Fleet
from benchmarks.detection.section import Figures, Plan, Section, table
from rich.progress import Progress
from rich.table import Table

from birdwatch.detect.budget import Budget, Spending, Watch
from birdwatch.detect.kind import Case, Rule, State
from birdwatch.detect.pairs import PairRule
from birdwatch.detect.reference import DAY, Block, Reference
from birdwatch.detect.rules import load_rules
from birdwatch.windows.pane import Pane

__all__ = ["SECTION", "Page", "broken", "healthy", "judge", "spend", "starter_rules"]

SEED: Final = 20_260_009
REFERENCE: Final = 28
MONTH: Final = 30
"""Days that are learned from, and that are judged."""

BAD_FROM: Final = 10
"""The day of the month on which a model breaks, from 0."""

REQUESTS: Final = 200
"""An hour, on average."""

BOUNDS: Final = {"bounded": 1.5, "without bound": inf}
"""How far each wobble goes, in its standard deviations."""

RULES: Final = ("scores", "pairs", "disagreement", "score-errors", "model-latency")


class Page(NamedTuple):
    """An alarm: by which rule, about whom, and how many seconds after the reference ended."""

    rule: str
    model: str
    at: int


def starter_rules() -> list[Rule]:
    """Give the rules by which the fleet is judged."""
    found = {rule.name: rule for rule in load_rules(Path(__file__).parents[2] / "detectors").rules}
    return [found[name].model_copy(update={"severity": "page"}) for name in RULES]


def spend(rules: list[Rule], models: int) -> Spending:
    """Share one page a month among them: each watches every model, those on pairs all but the canary."""
    watched = {rule.name: models - isinstance(rule, PairRule) for rule in rules}
    return Budget().spend(Watch(rule.name, watched[rule.name], rule.window, rule.weight) for rule in rules)


def judge(rules: list[Rule], spending: Spending, life: dict[int, list[Pane]]) -> list[Page]:
    """Judge a model, window after window, against its first weeks."""
    return [page for rule in rules for page in _judge(rule, spending.threshold(rule.name), life[rule.window])]


def _judge(rule: Rule, threshold: float, panes: list[Pane]) -> list[Page]:
    begin = REFERENCE * DAY
    split = begin // rule.window
    blocks = tuple(Block(i * rule.window, pane) for i, pane in enumerate(panes[:split]))
    reference = Reference("the four weeks before", 0, begin, rule.window, blocks)
    found = []
    for subject in rule.subjects(panes[split], ()) if panes else []:
        taught = rule.learned(reference, subject)
        state: State = {}
        for number, pane in enumerate(panes[split:], split):
            start = number * rule.window
            case = Case(subject, start, start + rule.window, pane, reference, taught=taught)
            verdict, state = rule.judge(case, state, threshold)
            if verdict.alarmed:
                found.append(Page(rule.name, subject.model, verdict.end - begin))
    return found


def healthy(fleet: Fleet, rules: list[Rule], spending: Spending, done: Callable[[], None]) -> list[Page]:
    """Give the pages of a fleet in which nothing happens."""
    found = []
    for name in fleet.names:
        found += judge(rules, spending, fleet.life(name))
        done()
    return found


def broken(fleet: Fleet, rules: list[Rule], spending: Spending, day: int, done: Callable[[], None]) -> Figures:
    """Let a challenger break in each way, and give who names it first: after how many hours, and by which rule.

    What the others do is what they did in the healthy month, so only that one is judged anew.
    """
    found: Figures = {}
    for fault, name in zip(FAULTS, fleet.names[2:], strict=False):
        said = judge(rules, spending, fleet.life(name, fault, REFERENCE + day))
        late: dict[str, int] = {}
        for page in sorted(said, key=lambda p: p.at):
            if page.at > day * DAY:
                late.setdefault(page.rule, (page.at - day * DAY) // HOUR)
        found[fault] = {"model": name, "hours": late, "before": sum(page.at <= day * DAY for page in said)}
        done()
    return found


def measure(plan: Plan, progress: Progress) -> Figures:
    """Count the pages of healthy months by rule, and the hours until models that break are named."""
    models = plan.streams // 4
    task = progress.add_task("fleet", total=models * len(BOUNDS) + len(FAULTS))
    rules = starter_rules()
    spending = spend(rules, models)
    fleets = {kind: Fleet(models, REFERENCE + MONTH, REQUESTS, SEED, most) for kind, most in BOUNDS.items()}
    pages = {kind: healthy(each, rules, spending, lambda: progress.advance(task)) for kind, each in fleets.items()}
    return {
        "models": models,
        "healthy": {
            rule.name: {
                "subjects": (share := spending.rules[rule.name]).subjects,
                "windows": share.subjects * MONTH * DAY // rule.window,
                "level": share.level,
                "promised": share.promised,
                "pages": {kind: sum(page.rule == rule.name for page in found) for kind, found in pages.items()},
            }
            for rule in rules
        },
        "broken": broken(fleets["bounded"], rules, spending, BAD_FROM, lambda: progress.advance(task)),
    }


def tables(figures: Figures) -> list[Table | str]:
    """Show the pages of each rule beside what it was promised, and the delays."""
    healthy, broken = figures["healthy"], figures["broken"]
    each = [
        (name, one["subjects"], one["windows"], one["promised"], *one["pages"].values())
        for name, one in healthy.items()
    ]
    rows = [(name, f"{n:,}", f"{w:,}", f"{promised:.3f}", *map(str, pages)) for name, n, w, promised, *pages in each]
    _, _, windows, promised, *pages = (sum(column) if i > 1 else "" for i, column in enumerate(zip(*each, strict=True)))
    rows.append(("all", "", f"{windows:,}", f"{promised:.3f}", *map(str, pages)))
    late = [
        (
            f"{one['model']}: {fault}",
            *(str(one["hours"].get(name, "–")) for name in healthy),
            str(min(one["hours"].values())) if one["hours"] else "**never**",
        )
        for fault, one in broken.items()
    ]
    return [
        table(
            f"A healthy month of {figures['models']} models, {REQUESTS} requests an hour;"
            f" each rule alarms at A = {max(one['level'] for one in healthy.values()):,.0f}",
            ("rule", "subjects", "windows", "expected pages, at most", *(f"pages, wobbles {kind}" for kind in BOUNDS)),
            rows,
        ),
        table(
            f"The same month (wobbles bounded), where a model breaks on day {BAD_FROM}: hours until it pages",
            ("", *healthy, "first"),
            late,
        ),
    ]


SECTION: Final = Section("fleet", measure, tables)
