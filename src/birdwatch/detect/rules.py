"""Rules: those of a folder, read from its YAML files, with the kinds built in and those of its plug-ins."""

from pathlib import Path
from typing import Final, NamedTuple

from birdwatch.detect.budget import Budget
from birdwatch.detect.disagreement import DisagreementRule
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.document import Document
from birdwatch.detect.kind import Rule
from birdwatch.detect.latency import LatencyRule
from birdwatch.detect.mistakes import Mistake
from birdwatch.detect.paired import PairedRule
from birdwatch.detect.plugin import Kinds
from birdwatch.detect.rate import RateRule
from birdwatch.detect.selection import SelectionRule
from birdwatch.detect.silence import SilenceRule
from birdwatch.detect.threshold import ThresholdRule
from birdwatch.detect.traffic import TrafficRule
from birdwatch.detect.verdict import WATCHDOG
from birdwatch.errors import SettingsError

__all__ = ["KINDS", "RuleSet", "check_rules", "load_kinds", "load_rules"]

KINDS: Final[dict[str, type[Rule]]] = {
    "disagreement": DisagreementRule,
    "distribution": DistributionRule,
    "latency": LatencyRule,
    "paired": PairedRule,
    "rate": RateRule,
    "selection": SelectionRule,
    "silence": SilenceRule,
    "threshold": ThresholdRule,
    "traffic": TrafficRule,
}
"""Every kind of rule that is built in, by the name that rules call it."""


class RuleSet(NamedTuple):
    """The rules of a folder, by name, and the page budget that they share."""

    rules: tuple[Rule, ...]
    budget: Budget = Budget()
    folder: Path = Path()


def load_rules(folder: Path) -> RuleSet:
    """Read all rules of a folder.

    Raises
    ------
    SettingsError
        There are none, or some are wrong: one line for each mistake, with file and line.
    """
    rules, mistakes = check_rules(folder)
    if mistakes:
        raise SettingsError("\n".join(map(str, mistakes)))
    return rules


def check_rules(folder: Path) -> tuple[RuleSet, list[Mistake]]:
    """Read all rules of a folder, and give those that are right and the mistakes of the others.

    Raises
    ------
    SettingsError
        There is no such folder, or no ``*.yaml`` in it.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise SettingsError(f"no rules in {folder}: it {'holds no *.yaml' if folder.is_dir() else 'is no folder'}")
    mistakes: list[Mistake] = []
    kinds = Kinds(KINDS, folder, mistakes)
    rules: dict[str, tuple[Rule, str]] = {}
    budgets: list[tuple[Budget, str]] = []
    for file in files:
        document = Document(file, kinds, mistakes)
        for place, rule in document.rules():
            if rule.name == WATCHDOG:
                document.note((*place, "name"), f"{WATCHDOG!r} is the dead man's alert: give the rule another name")
            elif rule.name in rules:
                document.note(place, f"there is a rule {rule.name!r} already, at {rules[rule.name][1]}")
            else:
                rules[rule.name] = (rule, document.where((*place, "name")))
        budget = document.budget()
        if budget is not None and budgets:
            document.note(("budget",), f"there is a budget already, at {budgets[0][1]}")
        elif budget is not None:
            budgets.append((budget, document.where(("budget",))))
    if not rules and not mistakes:
        mistakes.append(Mistake(files[0], 1, "no rule in any file: write `rules:` and a list"))
    found = tuple(rule for _, (rule, _) in sorted(rules.items()))
    return RuleSet(found, budgets[0][0] if budgets else Budget(), folder), sorted(mistakes)


def load_kinds(folder: Path) -> tuple[Kinds, list[Mistake]]:
    """Try every kind that the rules of a folder may use, whether or not one does, and tell what is wrong with them.

    Kinds that lack only a package are not among the mistakes: nobody has asked for them.
    """
    mistakes: list[Mistake] = []
    kinds = Kinds(KINDS, folder, mistakes)
    kinds.loaded()
    return kinds, sorted(mistakes)
