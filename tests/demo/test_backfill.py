"""The month before is on the streams as if it had been served, but untimed and marked."""

import pytest

from birdwatch.demo.backfill import COMPONENT, backfill, skip_to_end
from birdwatch.demo.flights import Question
from birdwatch.errors import StreamError
from birdwatch.records import Request, Score, decode
from birdwatch.streams import open_streams

QUESTIONS = [Question(row, f"flight-{row}", 60.0 * row, {"x": row}) for row in range(2500)]
MODELS = {
    "champion": lambda rows: [row["x"] + row["y"] for row in rows],
    "canary": lambda rows: [-row["x"] for row in rows],
}


@pytest.fixture
def streams(tmp_path):
    place = open_streams(f"sqlite:{tmp_path / 'streams'}")
    yield place
    place.close()


@pytest.fixture
def filled(streams):
    count = backfill(
        streams, QUESTIONS, lambda seen, ts: {**seen, "y": ts}, MODELS, canary="canary", deadline_seconds=1.0
    )
    assert count == 2500
    return streams


def records(streams, name, kind):
    reader = streams.reader([name])
    found = [decode(message.value, kind) for message in reader.poll(limit=10_000, timeout=0.0)]
    reader.close()
    return found


def test_each_question_has_a_request_with_the_injected_state(filled):
    requests = records(filled, "requests", Request)
    assert [(r.id, r.ts, r.features) for r in requests] == [(q.id, q.ts, {"x": q.row, "y": q.ts}) for q in QUESTIONS]


def test_each_model_has_scored_each_request_untimed(filled):
    scores = records(filled, "scores", Score)
    assert [(s.request_id, s.score) for s in scores] == [(q.id, q.row + q.ts) for q in QUESTIONS]
    assert {(s.model, s.version, s.elapsed_seconds, s.queue_seconds) for s in scores} == {("champion", "1", None, None)}
    assert all(s.ts == s.request_ts for s in scores)


def test_the_canarys_scores_lie_on_a_stream_of_their_own(filled):
    canary = records(filled, "canary", Score)
    assert [(s.model, s.score) for s in canary] == [("canary", -q.row) for q in QUESTIONS]


def test_every_record_says_that_it_was_filled_in(filled):
    found = [
        *records(filled, "requests", Request),
        *records(filled, "scores", Score),
        *records(filled, "canary", Score),
    ]
    assert {record.provenance["component"] for record in found} == {COMPONENT}


def test_a_group_that_skips_begins_after_it(filled):
    skip_to_end(filled, "rendezvous", ["requests", "scores"])
    filled.append("requests", [(b"", b"new")])
    reader = filled.reader(["requests", "scores"], group="rendezvous")
    assert [message.value for message in reader.poll(timeout=0.0)] == [b"new"]
    reader.close()


def test_a_group_that_somebody_else_reads_as_is_named(filled, monkeypatch):
    monkeypatch.setattr("birdwatch.demo.backfill._GROUP_SECONDS", -1.0)
    reader = filled.reader

    def held_elsewhere(*args, **options):
        made = reader(*args, **options)
        made.positions = dict
        return made

    monkeypatch.setattr(filled, "reader", held_elsewhere)
    with pytest.raises(StreamError, match="gives the group 'gateway' no requests"):
        skip_to_end(filled, "gateway", ["requests"])
