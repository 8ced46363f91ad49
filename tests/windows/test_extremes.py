"""The requests on which two models differ most are named: the largest first, of equals the first by name."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from birdwatch.windows.build import Grid, build
from birdwatch.windows.ids import ids_of_texts
from birdwatch.windows.joint import EXTREMES
from birdwatch.windows.names import Names

PAIRS = st.dictionaries(
    st.text(min_size=1, max_size=4).filter(lambda name: not name.endswith("\x00")),
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, -0.5]), st.sampled_from([0.0, 0.25, 1e300, -1e300])),
    min_size=1,
    max_size=40,
)


def columns(names, who, scores):
    ids, texts = ids_of_texts(names)
    nothing = np.full(len(names), np.nan)
    told = {"queue_seconds": nothing, "elapsed_seconds": nothing, "error": np.zeros(len(names), np.bool_)}
    return {
        "id": ids,
        "name": texts,
        "time": np.zeros(len(names)),
        "who": who,
        "score": np.array(scores),
        "ts": nothing,
    } | told


@settings(max_examples=100, deadline=None)
@given(PAIRS, st.randoms())
def test_the_largest_differences_of_a_pane_are_those_that_sorting_finds(pairs, random):
    known = Names()
    champion, shadow = known.codes(["champion", "shadow"], ["1", "1"]).tolist()
    rows = [
        (name, who, score) for name, both in pairs.items() for who, score in zip((shadow, champion), both, strict=True)
    ]
    random.shuffle(rows)
    names, who, scores = zip(*rows, strict=True)
    built = build({"scores": columns(names, np.array(who), scores)}, known, Grid("real", 1.0), "champion")
    wanted = sorted(pairs.items(), key=lambda one: (-abs(one[1][0] - one[1][1]), one[0].encode()))[:EXTREMES]
    assert [(e.request_id, (e.score, e.partner_score)) for e in built.extremes] == wanted


THREE = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.tuples(*[st.sampled_from([None, 0.0, 0.25, 0.5, -0.5, 1e-30, 2e-30])] * 3),
    min_size=1,
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(THREE, st.randoms())
def test_each_of_several_challengers_has_its_own(scored, random):
    known = Names()
    models = [("champion", "1"), ("a", "2"), ("b", "1")]
    codes = known.codes(*zip(*models, strict=True)).tolist()
    rows = [
        (name, who, score)
        for name, scores in scored.items()
        for who, score in zip(codes, scores, strict=True)
        if score is not None
    ]
    random.shuffle(rows)
    if not rows:
        return
    names, who, scores = zip(*rows, strict=True)
    built = build({"scores": columns(names, np.array(who), scores)}, known, Grid("real", 1.0), "champion")
    wanted = []
    for place, (model, version) in enumerate(models[1:], 1):
        both = [(n, s[place], s[0]) for n, s in scored.items() if s[place] is not None and s[0] is not None]
        both.sort(key=lambda one: (-abs(one[1] - one[2]), one[0]))
        wanted += [(model, version, "champion", *one) for one in both[:EXTREMES]]
    found = [(e.model, e.version, e.partner, e.request_id, e.score, e.partner_score) for e in built.extremes]
    assert found == wanted
