"""Rules: read from YAML files, validated, each mistake with its file and line."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from birdwatch.detect.budget import Budget
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.kind import Rule
from birdwatch.detect.latency import LatencyRule
from birdwatch.detect.paired import PairedRule
from birdwatch.detect.rate import RateRule
from birdwatch.detect.reference import ReferenceChoice
from birdwatch.detect.selection import SelectionRule
from birdwatch.detect.silence import SilenceRule
from birdwatch.errors import SettingsError

__all__ = ["KINDS", "Mistake", "RuleSet", "check_rules", "load_rules"]

KINDS: Final[dict[str, type[Rule]]] = {
    "distribution": DistributionRule,
    "latency": LatencyRule,
    "paired": PairedRule,
    "rate": RateRule,
    "selection": SelectionRule,
    "silence": SilenceRule,
}
"""Every kind of rule by the name that rules call it."""

_SECTIONS: Final = ("rules", "budget")


class RuleSet(NamedTuple):
    """The rules of a folder, by name, and the page budget that they share."""

    rules: tuple[Rule, ...]
    budget: Budget = Budget()
    folder: Path = Path()


class Mistake(NamedTuple):
    """What is wrong with a rule, and where."""

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        """Write it as compilers do, so that editors find the place."""
        return f"{self.file}:{self.line}: {self.message}"


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
    rules: dict[str, tuple[Rule, str]] = {}
    budgets: list[tuple[Budget, str]] = []
    for file in files:
        document = _Document(file, mistakes)
        for place, rule in document.rules():
            if rule.name in rules:
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


Place = tuple[int | str, ...]
M = TypeVar("M", bound=BaseModel)


class _Document:
    """One file: what it says, and on which line it says it."""

    def __init__(self, file: Path, mistakes: list[Mistake]) -> None:
        self._file = file
        self._mistakes = mistakes
        self._root: yaml.Node | None = None
        self._content: dict[str, Any] = {}
        try:
            text = file.read_text(encoding="utf-8")
            self._root = yaml.compose(text, Loader=yaml.SafeLoader)
            content = yaml.safe_load(text) if self._root is not None else {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or str(error)
            mistakes.append(Mistake(file, mark.line + 1 if mark else 1, f"cannot be read as YAML: {problem}"))
            return
        if not isinstance(content, dict):
            mistakes.append(Mistake(file, 1, f"holds {type(content).__name__}, not `rules:` and a list"))
            return
        for name in content.keys() - set(_SECTIONS):
            self.note((name,), f"unknown section {name!r}: {_nearest(name, _SECTIONS)}")
        for line, name in _doubled(self._root):
            mistakes.append(Mistake(file, line, f"{name!r} stands here twice, and only the last would count"))
        self._content = content

    def where(self, place: Place) -> str:
        return f"{self._file}:{self.line(place)}"

    def note(self, place: Place, message: str) -> None:
        self._mistakes.append(Mistake(self._file, self.line(place), message))

    def line(self, place: Place) -> int:
        """Find the line of a key or an item; parts of the place that are not in the file are passed over."""
        node, line = self._root, 1
        for part in place:
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == str(part):
                        node, line = value, key.start_mark.line + 1
                        break
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
        return line

    def rules(self) -> Iterator[tuple[Place, Rule]]:
        """Read the rules that are right, and note what is wrong with the others."""
        listed = self._content.get("rules") or []
        if not isinstance(listed, list):
            self.note(("rules",), f"rules are a list, not {type(listed).__name__}: begin each with `- name:`")
            return
        for number, said in enumerate(listed):
            place: Place = ("rules", number)
            if not isinstance(said, dict):
                self.note(place, f"{said!r} is no rule: write `name:` and `kind:`")
                continue
            kind = said.get("kind")
            if kind not in KINDS:
                at = (*place, "kind") if kind else place
                self.note(
                    at, f"unknown kind {kind!r}: {_nearest(str(kind), KINDS)}" if kind else "a rule needs a `kind`"
                )
                continue
            rule = self._validated(KINDS[kind], said, place)
            if rule is not None:
                yield place, rule

    def budget(self) -> Budget | None:
        said = self._content.get("budget")
        return None if said is None else self._validated(Budget, said, ("budget",))

    def _validated(self, model: type[M], said: Any, place: Place) -> M | None:
        try:
            return model.model_validate(said)
        except ValidationError as error:
            faults: dict[tuple[int, str], list[str]] = {}
            for fault in error.errors():
                at = (*place, *fault["loc"])
                field = ".".join(str(p) for p in fault["loc"] if str(p) in _names(model) | _names(ReferenceChoice))
                faults.setdefault((self.line(at), field), []).append(_say(fault, model))
            for (line, field), messages in faults.items():
                text = " or ".join(dict.fromkeys(messages))
                self._mistakes.append(Mistake(self._file, line, f"{field}: {text}" if field else text))
            return None


def _names(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def _say(fault: ErrorDetails, model: type[BaseModel]) -> str:
    last = str(fault["loc"][-1]) if fault["loc"] else ""
    if fault["type"] == "extra_forbidden":
        inner = len(fault["loc"]) > 1
        return f"unknown field {last!r}: {_nearest(last, sorted(_names(ReferenceChoice if inner else model)))}"
    if fault["type"] == "missing":
        return "is missing"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    said = fault["input"]
    if fault["type"] == "literal_error":
        choices = str(fault.get("ctx", {}).get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
        near = difflib.get_close_matches(str(said), choices, n=1)
        return f"{said!r} should be {message}" + (f"; did you mean {near[0]!r}?" if near else "")
    return message if fault["type"] == "value_error" else f"{said!r} should be {message}"


def _nearest(name: str, known: Sequence[str] | dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def _doubled(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Find keys that stand twice in one mapping: YAML keeps the last and says nothing."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.start_mark.line + 1, str(key.value)
            seen.add(key.value)
            yield from _doubled(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _doubled(item)
