"""Does a training table know the future? What was put together afterwards, beside what the models saw, by request id.

A column that the models saw is compared value by value. One that they never saw cannot be; but if it is the outcome, or
tells it almost perfectly, no model will have it when it is asked. Either way the row says why.
"""

import enum
import json
from collections.abc import Collection
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdwatch.evaluate.off_policy import latest
from birdwatch.evaluate.ranks import Auc, auc

__all__ = ["Answer", "LeakReport", "find_leaks"]

TELLING: Final = 0.95
"""The area from which a column that the models never saw is taken to be the truth in disguise."""

_SURE: Final = 4.0
_FEWEST: Final = 20


class Answer(enum.IntEnum):
    """What came of it; the number is the exit code, as `birdwatch check`'s."""

    PASS = 0
    FAIL = 1
    INCONCLUSIVE = 3


class LeakReport(NamedTuple):
    """What differs, and what knows the future.

    Attributes
    ----------
    answer, reason
        Fail if a column differs or knows the future; inconclusive if rows or columns could not be compared.
    columns
        By column of the table: ``column``, ``verdict`` (``same``, ``differs``, ``knows the future``, ``not seen``, or
        ``not in the table`` for what the models saw beside), ``rows`` compared, ``differing``, ``missing`` (differing
        because one side has no value), ``type_differs``, ``why``.
    rows
        ``request_id, column, seen, table``: every value that differs.
    matched, unmatched, repeated
        Rows of the table with a request, without one, and those beyond the first of their request.
    """

    answer: Answer
    reason: str
    columns: pd.DataFrame
    rows: pd.DataFrame
    matched: int
    unmatched: int
    repeated: int


def find_leaks(
    table: pd.DataFrame,
    requests: pd.DataFrame,
    outcomes: pd.DataFrame | None = None,
    *,
    id_column: str = "request_id",
    labels: Collection[str] = (),
    tolerance: float = 1e-6,
) -> LeakReport:
    """Compare a training table with what the models saw.

    Parameters
    ----------
    table
        A row for each request; its columns are named as the features.
    requests
        Columns ``id, ts, features``, as recorded.
    outcomes
        Columns ``request_id, ts, reward, label``; without them only differences are found.
    id_column
        Where the table has the request's id.
    labels
        Columns that are meant to be the truth.
    tolerance
        Numbers are the same that differ by no more than this share of the larger one: a table may have 32-bit floats.

    Raises
    ------
    ValueError
        The table has no such column.
    """
    for name in (id_column, *labels):
        if name not in table:
            raise ValueError(f"the table has no column {name!r}: it has {', '.join(map(str, table.columns))}")
    seen = requests.drop_duplicates("id").set_index("id")
    ids = table[id_column].astype(str)
    there = ids.isin(seen.index)
    repeated = int(ids[there].duplicated().sum())
    rows = table[there].set_index(ids[there])
    truth = {} if outcomes is None else {f: latest(outcomes, f).reindex(rows.index) for f in ("label", "reward")}
    if outcomes is not None:
        truth["ts"] = outcomes.drop_duplicates("request_id").set_index("request_id")["ts"].reindex(rows.index)
    features = pd.DataFrame(list(seen.loc[rows.index, "features"]), index=rows.index)
    found, values = [], []
    for name in (c for c in table.columns if c != id_column and c not in labels):
        if name in features:
            row, differing = _compared(str(name), rows[name], features[name], truth, tolerance)
            values.append(differing)
        else:
            row = _unseen(str(name), rows[name], truth)
        found.append(row)
    found += [_row(str(n), "not in the table", why="the models saw it") for n in features if n not in table]
    columns = pd.DataFrame(found, columns=list(_row("", "")))
    differing = pd.concat(values, ignore_index=True) if values else _values([], "", [], [])
    answer, reason = _answer(columns, len(rows), int((~there).sum()), outcomes is not None)
    return LeakReport(answer, reason, columns, differing, len(rows), int((~there).sum()), repeated)


def _answer(columns: pd.DataFrame, matched: int, unmatched: int, with_truth: bool) -> tuple[Answer, str]:
    by = columns.groupby("verdict")["column"].agg(list).to_dict()
    bad = [
        f"{', '.join(by[v])} {v if len(by[v]) == 1 else {'differs': 'differ'}.get(v, 'know the future')}"
        for v in ("knows the future", "differs")
        if v in by
    ]
    if bad:
        return Answer.FAIL, "; ".join(bad)
    doubts = []
    if not matched:
        doubts.append("no row of the table has a request of that id")
    elif unmatched:
        doubts.append(f"{unmatched:,} of {matched + unmatched:,} rows have no request to compare with")
    if "not seen" in by:
        doubts.append(f"the models never saw {', '.join(by['not seen'])}: leave it out, or name it as a label")
    if "same" not in by:
        doubts.append("no column could be compared")
    if not with_truth:
        doubts.append("there are no outcomes, so nothing was held against the truth")
    if doubts:
        return Answer.INCONCLUSIVE, "; ".join(doubts)
    return Answer.PASS, f"{len(by['same'])} columns of {matched:,} rows are what the models saw"


def _compared(
    name: str, ours: pd.Series, seen: pd.Series, truth: dict[str, pd.Series], tolerance: float
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Compare a column with what was seen, value by value."""
    kinds = _kinds(ours) != _kinds(seen)
    mine, theirs = _alike(ours, seen)
    none, gone = mine.isna().to_numpy(), theirs.isna().to_numpy()
    if mine.dtype == np.float64:
        a, b = mine.to_numpy(), theirs.to_numpy()
        with np.errstate(invalid="ignore"):
            same = (a == b) | (np.abs(a - b) <= tolerance * np.maximum(np.abs(a), np.abs(b)))
    else:
        same = (mine == theirs).to_numpy(dtype=bool)
    same = np.where(none | gone, none & gone, same)
    apart = ~same
    differing = _values(list(ours.index[apart]), name, list(seen[apart]), list(ours[apart]))
    more = {"rows": len(ours), "type_differs": kinds}
    if not apart.any():
        return _row(name, "same", **more), differing
    more |= {"differing": int(apart.sum()), "missing": int((apart & (none | gone)).sum())}
    why = _is_truth(mine[apart], truth, apart) or _tells_more(mine, theirs, apart, truth)
    if why:
        return _row(name, "knows the future", why=why, **more), differing
    return _row(name, "differs", why="is not what the models saw: changed since, or made otherwise", **more), differing


def _unseen(name: str, ours: pd.Series, truth: dict[str, pd.Series]) -> dict[str, Any]:
    """Ask of a column that the models never saw whether it is the truth."""
    number = pd.to_numeric(ours, errors="coerce").astype(np.float64)
    why = _is_truth(number, truth)
    if not why:
        of = _area(number, truth)
        if abs(of.value - 0.5) + 0.5 >= TELLING:
            why = f"tells the label almost perfectly (AUC {of.value:.3f}), and the models never saw it"
    return _row(
        name, "knows the future" if why else "not seen", why=why or "nothing to compare it with", rows=len(ours)
    )


def _is_truth(values: pd.Series, truth: dict[str, pd.Series], rows: NDArray[np.bool_] | None = None) -> str:
    """Say which field of the outcome the values are, where they are one; ``rows`` says of which rows they are."""
    if values.dtype != np.float64:
        return ""
    for field, known in truth.items():
        y = known.to_numpy(dtype=np.float64)
        y = y if rows is None else y[rows]
        both = values.notna().to_numpy() & ~np.isnan(y)
        # A few values may agree by chance; a constant always does.
        if both.sum() >= _FEWEST and np.unique(y[both]).size > 1 and (values.to_numpy()[both] == y[both]).all():
            return f"is the outcome's {field}"
    return ""


def _tells_more(mine: pd.Series, theirs: pd.Series, apart: NDArray[np.bool_], truth: dict[str, pd.Series]) -> str:
    """Say whether the table tells more of the label than what was seen, where the two differ.

    Compared are areas under the ROC curve; more is more by four standard errors, those of both added as variances.
    """
    if mine.dtype != np.float64:
        return ""
    table, seen = _area(mine[apart], truth, apart), _area(theirs[apart], truth, apart)
    before = 0.5 if np.isnan(seen.value) else seen.value
    error = float(np.hypot(table.error, np.nan_to_num(seen.error)))
    if abs(table.value - 0.5) - abs(before - 0.5) > _SURE * max(error, 1e-9):
        return f"tells more of the label than what the models saw: AUC {table.value:.3f}, theirs {before:.3f}"
    return ""


def _area(values: pd.Series, truth: dict[str, pd.Series], rows: NDArray[np.bool_] | None = None) -> Auc:
    if "label" not in truth:
        return Auc(np.nan, np.nan)
    label = truth["label"].to_numpy() if rows is None else truth["label"].to_numpy()[rows]
    both = values.notna().to_numpy() & ~np.isnan(label)
    y = label[both]
    if both.sum() < _FEWEST or not np.isin(y, (0.0, 1.0)).all():
        return Auc(np.nan, np.nan)
    return auc(y, values.to_numpy(dtype=np.float64)[both])


def _alike(ours: pd.Series, seen: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Give both as numbers, as moments in seconds, or as text: the first that fits all values there are."""
    for convert in (_numbers, _moments):
        found = convert(ours), convert(seen)
        if all(new.notna().equals(old.notna()) for new, old in zip(found, (ours, seen), strict=True)):
            return found
    return _texts(ours), _texts(seen)


def _numbers(values: pd.Series) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.Series(np.nan, index=values.index)
    return pd.to_numeric(values, errors="coerce").astype(np.float64)


def _moments(values: pd.Series) -> pd.Series:
    moments = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    return ((moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).astype(np.float64)


def _texts(values: pd.Series) -> pd.Series:
    def text(value: Any) -> str | None:
        if isinstance(value, dict | list):
            return json.dumps(value, sort_keys=True)
        return None if pd.isna(value) else str(value)

    return pd.Series([text(v) for v in values], index=values.index, dtype=object)


def _kinds(values: pd.Series) -> str:
    return "number" if pd.api.types.is_numeric_dtype(values) else "other"


def _values(ids: list[str], name: str, seen: list[Any], ours: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"request_id": ids, "column": name, "seen": seen, "table": ours}, dtype=object)


def _row(name: str, verdict: str, **more: Any) -> dict[str, Any]:
    blank = {"rows": 0, "differing": 0, "missing": 0, "type_differs": False, "why": ""}
    return {"column": name, "verdict": verdict, **blank, **more}
