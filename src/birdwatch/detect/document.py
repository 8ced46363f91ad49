"""A file of rules: what it says, on which line it says it, and what is wrong with it."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from birdwatch.detect.budget import Budget
from birdwatch.detect.kind import Rule
from birdwatch.detect.mistakes import Mistake, nearest
from birdwatch.detect.plugin import Kinds
from birdwatch.detect.reference import ReferenceChoice

__all__ = ["SECTIONS", "Document", "Place"]

SECTIONS: Final = ("rules", "budget")
"""What a file may hold."""

Place = tuple[int | str, ...]
"""Where something stands: ``("rules", 0, "window")``."""

M = TypeVar("M", bound=BaseModel)


class Document:
    """One file, read.

    Parameters
    ----------
    file
        YAML.
    kinds
        What its rules may be.
    mistakes
        Takes what is wrong with it.
    """

    def __init__(self, file: Path, kinds: Kinds, mistakes: list[Mistake]) -> None:
        self._file = file
        self._kinds = kinds
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
        for name in content.keys() - set(SECTIONS):
            self.note((name,), f"unknown section {name!r}: {nearest(str(name), SECTIONS)}")
        for line, name in _doubled(self._root):
            mistakes.append(Mistake(file, line, f"{name!r} stands here twice, and only the last would count"))
        self._content = content

    def where(self, place: Place) -> str:
        """Name a place for people."""
        return f"{self._file}:{self._line(place)}"

    def note(self, place: Place, message: str) -> None:
        """Say what is wrong at a place."""
        self._mistakes.append(Mistake(self._file, self._line(place), message))

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
            kind = self._kind(said.get("kind"), place)
            rule = None if kind is None else self._validated(kind, said, place)
            if rule is not None:
                yield place, rule

    def budget(self) -> Budget | None:
        """Read the budget, if it is here."""
        said = self._content.get("budget")
        return None if said is None else self._validated(Budget, said, ("budget",))

    def _kind(self, name: Any, place: Place) -> type[Rule] | None:
        if not name:
            self.note(place, "a rule needs a `kind`")
            return None
        if not isinstance(name, str) or name not in self._kinds:
            self.note((*place, "kind"), f"unknown kind {name!r}: {nearest(str(name), self._kinds)}")
            return None
        kind = self._kinds.load(name)
        package = self._kinds.lacking(name)
        if package:
            self.note(
                (*place, "kind"),
                f"the kind {name!r} of {self._kinds.plugins[name].file} needs the package {package!r}, which is not"
                f" installed: install it, such as with `pip install {package}`",
            )
        return kind

    def _line(self, place: Place) -> int:
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

    def _validated(self, model: type[M], said: Any, place: Place) -> M | None:
        try:
            return model.model_validate(said)
        except ValidationError as error:
            faults: dict[tuple[int, str], list[str]] = {}
            for fault in error.errors():
                at = (*place, *fault["loc"])
                field = ".".join(str(p) for p in fault["loc"] if str(p) in _names(model) | _names(ReferenceChoice))
                faults.setdefault((self._line(at), field), []).append(_say(fault, model))
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
        return f"unknown field {last!r}: {nearest(last, sorted(_names(ReferenceChoice if inner else model)))}"
    if fault["type"] == "missing":
        return "is missing"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    said = fault["input"]
    if fault["type"] == "literal_error":
        choices = str(fault.get("ctx", {}).get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
        near = difflib.get_close_matches(str(said), choices, n=1)
        return f"{said!r} should be {message}" + (f"; did you mean {near[0]!r}?" if near else "")
    return message if fault["type"] == "value_error" else f"{said!r} should be {message}"


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
