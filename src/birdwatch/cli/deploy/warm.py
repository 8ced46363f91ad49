"""``birdwatch deploy warm``: is a version fit to answer, by what it has scored in shadow."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from birdwatch.cli.deploy.control import (
    STREAMS,
    AuthorOption,
    JsonOption,
    Ledgered,
    ModelArgument,
    StreamsOption,
    TsOption,
    make_control,
    opened,
    put,
    require_fleet,
    require_known,
)

if TYPE_CHECKING:
    from birdwatch.check.warmth import Evidence, Warmth
    from birdwatch.serving.control.fleet import Fleet

__all__ = ["warm"]

FAIL: Final = 1
INCONCLUSIVE: Final = 3
"""As `birdwatch check` exits; 0 passes, 2 is misuse."""


def warm(
    model: ModelArgument,
    version: Annotated[str, typer.Argument(help="The version that is to answer.")],
    scores: Annotated[
        int, typer.Option(min=2, help="So many requests must the version, champion and canary have scored.")
    ] = 200,
    tolerance: Annotated[
        float, typer.Option(min=0, help="How many times as far from the champion as the canary it may be.")
    ] = 2.0,
    errors: Annotated[float, typer.Option(min=0, max=1, help="The share of requests that may be errors.")] = 0.01,
    max_seconds: Annotated[
        float | None,
        typer.Option(min=0, help="What 99 of 100 scores must come within; by default the end of its tier."),
    ] = None,
    max_difference: Annotated[
        float | None,
        typer.Option(min=0, help="How far from the champion it may be in the mean, in units of the score."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0, help="How many seconds to wait for the requests.")] = 600.0,
    anyway: Annotated[bool, typer.Option("--anyway", help="Put it on record as warm though it does not pass.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for those who read it later.")] = "it passed the check",
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a version on what it scores in shadow, and put on record that it is fit to answer.

    Its errors, the 99th percentile of its latency, and its mean difference from the champion beside the canary's, on the
    same requests. Exit codes: 0 it is warm, 1 it is not, 2 misuse, 3 it has not scored enough within the timeout.
    """
    from birdwatch.check.warmth import Bar, Trial, gather, judge  # noqa: PLC0415 - `--help` should not wait for scipy
    from birdwatch.errors import SettingsError  # noqa: PLC0415

    with opened(streams) as on:
        fleet = require_fleet(on)
        require_known(fleet, model)
        champion = _champion(fleet, model)
        refused = deepcopy(on.ledger).enter(
            make_control("warm", model, version, {}, reason=reason, author=author, ts=ts)
        )
        if refused:  # before anybody waits for scores
            raise SettingsError(f"nothing is tried, since the rendezvous would refuse it: {refused}")
        canary = any(on.place.ends(["canary"]).values())
        if not canary and max_difference is None:
            raise SettingsError(
                "there is no canary, whose difference from the champion would tell what is usual: run one, or give"
                " --max-difference"
            )
        within = fleet.schedule.answers_within(model) if max_seconds is None else max_seconds
        trial = Trial(model, version, champion, canary=canary)
        with _progress(f"{model} {version}", scores, shown=not as_json) as progress:
            enough = gather(on.place, trial, scores, timeout_seconds=timeout, progress=progress)
        if not enough:
            _say_too_little(len(trial.seen), scores, f"{model} {version}", timeout, as_json=as_json)
            raise typer.Exit(INCONCLUSIVE)
        warmth = judge(trial.seen, Bar(within, errors, tolerance, max_difference))
        if warmth.warm or anyway:
            _put(on, model, version, warmth, reason=reason, author=author, ts=ts)
        code = 0 if warmth.warm or anyway else FAIL
        _show(warmth, f"{model} {version}", code, as_json=as_json)
    raise typer.Exit(code)


def _champion(fleet: "Fleet", model: str) -> str:
    from birdwatch.errors import SettingsError  # noqa: PLC0415

    first = fleet.schedule.tiers[0].models if fleet.schedule.tiers else ()
    if not first:
        raise SettingsError("no model answers in the first tier, so there is no champion to compare with")
    if model in first:
        raise SettingsError(
            f"{model!r} answers in the first tier already: register the version under a name of its own, and warm that"
        )
    return first[0]


def _put(
    on: Ledgered, model: str, version: str, warmth: "Warmth", *, reason: str, author: str | None, ts: float | None
) -> None:
    import msgspec  # noqa: PLC0415

    params: dict[str, Any] = msgspec.to_builtins(warmth.evidence)
    if not warmth.warm:
        params |= {"anyway": True, "failed": warmth.failed}
    put(
        on,
        make_control("warm", model, version, params, reason=reason, author=author, ts=ts),
        as_json=False,
        quiet=True,
    )


@contextmanager
def _progress(what: str, wanted: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(f"requests scored by {what} and by those it is compared with", total=wanted)
        yield lambda seen: bar.update(task, completed=min(seen, wanted))


def _say_too_little(seen: int, wanted: int, what: str, timeout: float, *, as_json: bool) -> None:
    reason = (
        f"{what}, champion and canary have all scored {seen} requests within {timeout:g} s, and {wanted} are asked for:"
        " see `birdwatch deploy status` for who scores"
    )
    if as_json:
        typer.echo(json.dumps({"exit": INCONCLUSIVE, "verdict": "inconclusive", "failed": [reason], "evidence": None}))
    else:
        typer.echo(f"INCONCLUSIVE: {reason}")


def _show(warmth: "Warmth", what: str, code: int, *, as_json: bool) -> None:
    import msgspec  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    if as_json:
        verdict = "pass" if warmth.warm else "fail"
        found = {"exit": code, "verdict": verdict, "failed": warmth.failed}
        typer.echo(msgspec.json.encode({**found, "evidence": warmth.evidence}).decode())
        return
    table = Table("", "seen", "at most (95 %)", "allowed", box=None)
    for row in _rows(warmth.evidence):
        table.add_row(*row)
    console = Console()
    console.print(table)
    if warmth.warm:
        console.print(f"WARM: {what} is fit to answer, by {warmth.evidence.requests:,} requests", style="green")
    else:
        console.print(f"NOT WARM: {what}: {'; '.join(warmth.failed)}", style="red", markup=False, soft_wrap=True)


def _rows(found: "Evidence") -> Iterator[tuple[str, str, str, str]]:
    def said(value: float | None, unit: str = "") -> str:
        return "–" if value is None else f"{value:.3g}{unit}"

    share = f"{found.errors / found.requests:.1%}"
    yield "errors", share, f"{found.errors_bound:.1%}", f"{found.max_errors:.1%}"
    yield "99 of 100 within", said(found.p99_seconds, " s"), "", said(found.max_seconds, " s")
    if found.tolerance is not None:
        allowed = f"{found.tolerance:g} times"
        yield "difference, by the canary's", said(found.ratio, " times"), said(found.ratio_bound, " times"), allowed
    limit = said(found.max_difference) if found.max_difference is not None else "any"
    yield "difference in the mean", said(found.difference), said(found.difference_bound), limit
