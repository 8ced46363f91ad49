"""What changed, in words: inputs, a model alone, answers, or how much came."""

from typing import Final

import pandas as pd

from birdwatch.detect.attribution import INPUTS_CHANGED_AND_DIFFER, attribute
from birdwatch.detect.reference import MIN_BLOCKS
from birdwatch.evaluate.changed import Changes

__all__ = ["what_happened"]

_MOST: Final = 4
_INPUTS: Final = ("input", "missing input", "share of requests")


def what_happened(found: Changes) -> list[str]:
    """Say what changed and why, a sentence each; or that nothing did, or that nobody can know.

    All models see the same requests. Where several moved together, or inputs did, it is the inputs; where one moved and the
    others stood still, or a pair came apart while inputs and partner stood still, it is that model (`birdwatch.detect.attribution`).
    """
    table, length = found.table, "periods" if found.seconds != 86_400 else "days"
    known, untold = table[table["changed"].notna()], table[table["changed"].isna()]
    said: list[str] = []
    if known.empty:
        others = f"{len(found.others)} other {length}" if len(found.others) > 1 else f"one other {length[:-1]}"
        said.append(
            f"Nobody can know what changed: there are {others} to compare with, and {MIN_BLOCKS} are needed to learn how"
            f" {length} differ. What is listed may be more than sampling explains, and still be usual."
        )
        return said
    moved = known[known["changed"].astype(bool)]
    kinds = _and(
        list(
            dict.fromkeys(
                what + " by segment" * bool(s) for what, s in zip(untold["what"], untold["segment"], strict=True)
            )
        )
    )
    blind = f"of {len(untold)} more ({kinds}) fewer than {MIN_BLOCKS} other {length} are known, so nobody can say whether they changed"
    if moved.empty:
        rest = f"; {blind}" if len(untold) else ""
        said.append(
            f"Nothing changed beyond what {length} differ by in {len(known)} measurements, against {len(found.others)} other"
            f" {length}{rest}."
        )
    said += [*_of_models(known, moved), *_of_the_rest(moved)]
    if len(untold) and len(moved):
        said.append(f"{_capital(blind)}.")
    return said


def _of_models(known: pd.DataFrame, moved: pd.DataFrame) -> list[str]:
    inputs = moved[moved["what"].isin(_INPUTS)]
    whole = known[(known["segment"] == "")]
    scores = whole[whole["what"] == "scores"].set_index("model")["changed"].astype(bool)
    together = scores[scores].index.tolist()
    still = scores[~scores].index.tolist()
    named = _named(inputs)
    said: list[str] = []
    apart = whole[(whole["what"] == "difference") & whole["changed"].astype(bool)]
    for _, pair in apart.iterrows():
        cause = attribute(
            alarm=True,
            model=scores.get(pair["model"]),
            partner=scores.get(pair["partner"]),
            inputs=bool(len(inputs)),
        )
        why = f"{named} moved, and the two differ on it" if cause == INPUTS_CHANGED_AND_DIFFER and named else ""
        said.append(f"{_capital(cause)}: {pair['of']}, {why or pair['told']}.")
    if len(together) > 1 or (together and len(inputs)):
        also = f"; of the inputs moved {named}" if named else ""
        but = f", those of {', '.join(still)} did not" if still else ""
        said.append(
            f"Inputs changed: the scores of {_and(together)} moved{' together' * (len(together) > 1)}{but}{also}."
        )
    elif together and not len(apart):
        others = f", and those of {_and(still)} did not" if still else ""
        said.append(f"The model alone changed: the scores of {together[0]} moved{others}; no input moved.")
    elif len(inputs):
        said.append(f"Inputs changed ({named}), and the scores of no model moved.")
    if not len(together):
        parts = moved[(moved["what"] == "scores") & (moved["segment"] != "")]
        said += [
            f"In a part alone: the scores of {row['of']}, {row['told']}." for _, row in parts.head(_MOST).iterrows()
        ]
    return said


def _of_the_rest(moved: pd.DataFrame) -> list[str]:
    """Say what else moved: how much came, how fast it was answered, and by whom."""
    told = {"scores", "difference", *_INPUTS}
    rest = moved[~moved["what"].isin(told)]
    said = [f"Volume changed: {row['told']} requests." for _, row in rest[rest["what"] == "requests"].iterrows()]
    rest = rest[rest["what"] != "requests"]
    for what, rows in rest.groupby("what", sort=False):
        each = [f"{row['of']} ({row['told']})" for _, row in rows.head(_MOST).iterrows()]
        more = f" and {len(rows) - _MOST} more" if len(rows) > _MOST else ""
        said.append(f"{_capital(str(what))} changed: {'; '.join(each)}{more}.")
    return said


def _named(inputs: pd.DataFrame) -> str:
    names = [
        f"{row['feature'] or row['segment']} ({row['told']})"
        for _, row in inputs.drop_duplicates("of").head(_MOST).iterrows()
    ]
    return "; ".join(names)


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
