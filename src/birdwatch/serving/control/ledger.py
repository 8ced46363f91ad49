"""The ledger: everything on the control stream, in order, with what came of it.

Whoever wants to know where the fleet stands without being asked for answers, the guard and the command line say, keeps
one. It comes to the same as the rendezvous, which put the schedule it was started with on control.
"""

from collections.abc import Iterable
from contextlib import closing
from typing import Any, Final, NamedTuple

from birdwatch.errors import RecordError, SettingsError
from birdwatch.records import Control, Score, decode
from birdwatch.serving.control.fleet import Fleet
from birdwatch.serving.control.schedule import Schedule, parse_schedule
from birdwatch.serving.horizon import catch_up
from birdwatch.serving.rendezvous.turns import FIRST, Turns
from birdwatch.streams import Message, Partition, Streams

__all__ = ["Entry", "Ledger", "read_ledger", "say", "say_rule"]

_SCORES: Final = 1000
"""So many of the last scores say who is there without ever having been on control."""


class Entry(NamedTuple):
    """A control record, and why it is not in force, if it is not."""

    control: Control
    refused: str | None = None


class Ledger:
    """All control records so far.

    Attributes
    ----------
    entries
        In order. What came before the first schedule is judged when that is known.
    fleet
        What they add up to; None before a schedule is known.
    unreadable
        How many messages were no control records.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.fleet: Fleet | None = None
        self.unreadable = 0
        self._turns = {FIRST: Turns(FIRST)}

    def take(self, messages: Iterable[Message]) -> list[Control]:
        """Enter messages of the control stream; give the records that are in force by them."""
        taken = []
        for message in messages:
            try:
                control = decode(message.value, Control)
            except RecordError:
                self.unreadable += 1  # the rendezvous sends it to the dead letters
                continue
            if self.enter(control) is None:
                taken.append(control)
        return taken

    def enter(self, control: Control) -> str | None:
        """Enter one record; give why it is refused, if it is."""
        self._count_turns(control)
        if self.fleet is None:
            plan = _plan_in(control)
            if plan is None:
                self.entries.append(Entry(control))
                return None
            self.fleet = Fleet(plan)
            before, self.entries = self.entries, []
            for entry in before:
                self.enter(entry.control)
        refused = self.fleet.apply(control)
        self.entries.append(Entry(control, refused))
        return refused

    def _count_turns(self, control: Control) -> None:
        if control.action != "swapped" or control.params.get("component") != "rendezvous":
            return
        to = str(control.params.get("to"))
        if to not in self._turns:
            self._turns[to] = Turns(to)
            for entry in self.entries:
                self._turns[to].apply(entry.control)
        for turns in self._turns.values():
            turns.apply(control)

    @property
    def in_charge(self) -> list[str]:
        """The rendezvous that answer what comes next, by name: one, but for the moment of a swap."""
        return sorted(name for name, turns in self._turns.items() if turns.in_charge)

    def last_of(self, model: str) -> Control | None:
        """Give the last record in force that changed something for a model."""
        for entry in reversed(self.entries):
            if entry.refused is None and (entry.control.model == model or _names(entry.control, model)):
                return entry.control
        return None


def _plan_in(control: Control) -> Schedule | None:
    if control.action != "schedule":
        return None
    try:
        return parse_schedule({**control.params, "version": control.version or "1"}, place="params")
    except SettingsError:
        return None  # it says only what changes in a schedule that nobody knows


def _names(control: Control, model: str) -> bool:
    if control.action != "schedule":
        return False
    tiers = control.params.get("tiers") or []
    return any(model in (*tier.get("models", ()), *tier.get("ramps", ())) for tier in tiers)


def read_ledger(streams: Streams) -> tuple[Ledger, dict[str, list[str]]]:
    """Read the control stream to its end, and look at who has scored last.

    Returns
    -------
    ledger
    heard
        By model, the versions among the last scores.
    """
    ledger = Ledger()
    with closing(streams.reader(["control"])) as reader:
        for messages in catch_up(streams, reader, ["control"]):
            ledger.take(messages)
    heard: dict[str, list[str]] = {}
    with closing(streams.reader(["scores", "canary"])) as reader:
        ends = streams.ends(["scores", "canary"])
        reader.seek({Partition(*at): max(0, end - _SCORES) for at, end in ends.items()})
        for messages in catch_up(streams, reader, ["scores", "canary"]):
            for message in messages:
                _hear(ledger, heard, message)
    return ledger, heard


def _hear(ledger: Ledger, heard: dict[str, list[str]], message: Message) -> None:
    try:
        score = decode(message.value, Score)
    except RecordError:
        return
    versions = heard.setdefault(score.model, [])
    if score.version not in versions:
        versions.append(score.version)
    if ledger.fleet is not None:
        ledger.fleet.hear(score.model, canary=message.stream == "canary")


def say(control: Control) -> str:
    """Say what a record does, in a few words.

    Examples
    --------
    >>> say(Control(ts=0, action="ramp", author="me", reason="", model="m", version="2", params={"percent": 10}))
    'ramp m 2 to 10 % of the keys'
    """
    about = " ".join(part for part in (control.model, control.version) if part)
    try:
        return _say(control, about)
    except (AttributeError, KeyError, TypeError):  # params of another shape, for which it is refused
        return f"{control.action} {about}".rstrip()


def _say(control: Control, about: str) -> str:  # noqa: PLR0911 - one case an action
    params = control.params
    match control.action:
        case "register":
            target = f" ({params['target']})" if "target" in params else ""
            how = " as the canary" if params.get("role") == "canary" else " in place" if params.get("in_place") else ""
            return f"register {about}{how}{target}"
        case "warm":
            return f"{about} is warm" + (", though it did not pass" if params.get("anyway") else "")
        case "ramp":
            return _say_ramp(about, params)
        case "hold":
            return f"hold the ramp of {about}"
        case "rollback":
            return f"roll back {about}" + (f" to {params['to']}" if params.get("to") else "")
        case "schedule":
            tiers = [", ".join((*tier.get("ramps", ()), *tier["models"])) for tier in params.get("tiers") or ()]
            return f"schedule {control.version}" + (f": {'; '.join(tiers)}" if tiers else "")
        case "override":
            name = params.get("name", control.model)
            return (
                f"clear override {name}"
                if params.get("clear")
                else f"override {name}: {say_rule(params.get('when') or {}, control.model)}"
            )
        case "swap":
            return f"swap the {params.get('component')} to {params.get('to') or params.get('target')}"
        case "swapped":
            return f"the {params.get('component')} has swapped" + (f" to {params['to']}" if params.get("to") else "")
        case _:
            return f"{control.action} {about}"


def _say_ramp(about: str, params: dict[str, Any]) -> str:
    percent = params.get("percent")
    if percent == 0:
        return f"end the ramp of {about}"
    guard = f", guard: {params['guard']}" if params.get("guard") else ""
    return f"ramp {about} to {percent} % of the keys{guard}" + (", anyway" if params.get("anyway") else "")


def say_rule(when: dict[str, Any], model: str) -> str:
    """Say what an override does.

    Examples
    --------
    >>> say_rule({"dest": ["LEX", "JAC"], "distance": {"at_least": 2000}}, "careful")
    'dest = LEX or JAC and distance ≥ 2000 to careful'
    """
    conditions = [f"{name} {_say_condition(condition)}" for name, condition in when.items()]
    return f"{' and '.join(conditions) or 'every request'} to {model}"


def _say_condition(condition: Any) -> str:
    if isinstance(condition, dict):
        ends = {"at_least": "≥", "below": "<"}
        return " and ".join(f"{ends.get(end, end)} {value}" for end, value in condition.items() if value is not None)
    return f"= {' or '.join(map(str, condition)) if isinstance(condition, list | tuple) else condition}"
