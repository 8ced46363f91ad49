"""The feeder asks in order, tells the truth when it is known, and never runs ahead of the readers."""

import asyncio
from collections import Counter

import pytest

from birdwatch.demo.deployment import Change
from birdwatch.demo.feeder import IN_FLIGHT, Answer, Feeder, Landing
from birdwatch.demo.flights import Question
from birdwatch.records import Control, Outcome, decode
from birdwatch.streams import open_streams

HOUR = 3600


def asked_at(*times):
    return [Question(row, f"flight-{row}", float(ts), {}) for row, ts in enumerate(times)]


class Pipeline:
    """Answers at once, and puts on the streams what a pipeline of one model and a canary would."""

    def __init__(self, streams, scored=1):
        self.streams = streams
        self.scored = scored
        self.asked = []
        self.open = 0
        self.most_open = 0

    async def ask(self, question):
        self.asked.append(question.id)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        await asyncio.sleep(0)
        self.open -= 1
        for stream in ("scores", "canary")[: self.scored + 1]:
            self.streams.append(stream, [(b"", b"{}")] * self.scored)
        self.streams.append("metrics", [(b"", b"{}")])
        return Answer("champion", "first choice", 0.01, within_sla=True)


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        # What is ready runs before time passes.
        await asyncio.sleep(0)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def streams(tmp_path):
    place = open_streams(f"sqlite:{tmp_path / 'streams'}")
    yield place
    place.close()


@pytest.fixture
def clock():
    return Clock()


def feeder(streams, ask, clock, caught_up=lambda: True, **options):
    return Feeder(
        streams,
        ask,
        caught_up,
        models=1,
        clock=clock,
        sleep=clock.sleep,
        **options,
    )


def values(streams, name):
    reader = streams.reader([name])
    found = [message.value for message in reader.poll(timeout=0.0)]
    reader.close()
    return found


def test_every_question_is_asked_once_and_in_order(streams, clock):
    pipeline = Pipeline(streams)
    questions = asked_at(*range(0, 5 * HOUR, 60))
    served = asyncio.run(feeder(streams, pipeline.ask, clock).play(questions, {}))
    assert pipeline.asked == [question.id for question in questions]
    assert (served.requests, served.answers, served.answers_within_sla) == (300, 300, 300)
    assert served.reasons == {"first choice": 300}


def test_no_more_are_open_at_once_than_allowed(streams, clock):
    pipeline = Pipeline(streams)
    asyncio.run(feeder(streams, pipeline.ask, clock).play(asked_at(*range(200)), {}))
    assert 1 < pipeline.most_open <= IN_FLIGHT


def test_an_answer_that_comes_late_or_never_is_counted_as_such(streams, clock):
    pipeline = Pipeline(streams)

    async def ask(question):
        answer = await pipeline.ask(question)
        return {0: None, 1: answer._replace(latency_seconds=1.5, within_sla=False)}.get(question.row, answer)

    served = asyncio.run(feeder(streams, ask, clock).play(asked_at(1, 2, 3), {}))
    assert (served.requests, served.answers, served.answers_within_sla) == (3, 2, 1)
    assert list(served.latencies) == [1.5, 0.01]


def test_the_truth_is_told_in_the_step_in_which_a_plane_lands_and_in_that_order(streams, clock):
    told = []
    landings = {0: Landing(2.5 * HOUR, 1.0), 1: Landing(0.9 * HOUR, 0.0), 2: Landing(2.2 * HOUR, 0.0)}
    questions = asked_at(0, 60, 1.5 * HOUR, 2.1 * HOUR)

    def on_step(ts):
        told.append((ts / HOUR, [decode(value, Outcome).request_id for value in values(streams, "outcomes")]))

    asyncio.run(feeder(streams, Pipeline(streams).ask, clock, on_step=on_step).play(questions, landings))
    assert told == [
        (1, ["flight-1"]),
        (2, ["flight-1"]),
        (3, ["flight-1", "flight-2", "flight-0"]),
    ]
    late = decode(values(streams, "outcomes")[-1], Outcome)
    assert (late.ts, late.request_ts, late.label) == (2.5 * HOUR, 0.0, 1.0)


def test_a_flight_that_never_lands_has_no_outcome(streams, clock):
    questions = asked_at(0, 60, 20 * HOUR)
    asyncio.run(feeder(streams, Pipeline(streams).ask, clock).play(questions, {1: Landing(2 * HOUR, 0.0)}))
    assert [decode(value, Outcome).request_id for value in values(streams, "outcomes")] == ["flight-1"]


def test_what_comes_of_a_question_may_depend_on_its_answer(streams, clock):
    pipeline = Pipeline(streams)

    async def ask(question):
        return (await pipeline.ask(question))._replace(accepted=question.row == 1)

    def tell(question, answer, landing):
        reward = landing.late if answer.accepted else 0.5
        return Outcome(request_id=question.id, request_ts=question.ts, ts=question.ts, reward=reward)

    landings = {row: Landing(60.0, 1.0) for row in range(3)}
    asyncio.run(feeder(streams, ask, clock, tell=tell).play(asked_at(1, 2, 3), landings))
    found = [decode(value, Outcome) for value in values(streams, "outcomes")]
    assert {outcome.request_id: outcome.reward for outcome in found} == {
        "flight-0": 0.5,
        "flight-1": 1.0,
        "flight-2": 0.5,
    }


def test_planes_that_land_at_night_are_told_before_the_first_flight_of_the_morning(streams, clock):
    seen = {}

    async def ask(question):
        seen[question.row] = len(values(streams, "outcomes"))
        return await Pipeline(streams).ask(question)

    asyncio.run(feeder(streams, ask, clock).play(asked_at(0, 8 * HOUR), {0: Landing(5 * HOUR, 0.0)}))
    assert seen == {0: 0, 1: 1}


def test_a_change_is_written_before_the_first_question_at_its_time(streams, clock):
    written = {}
    told = []
    change = Control(ts=2 * HOUR, action="register", author="us", reason="a try", model="m", version="2")

    async def ask(question):
        written[question.row] = len(values(streams, "control"))
        return await Pipeline(streams).ask(question)

    playing = feeder(streams, ask, clock, on_control=told.append)
    asyncio.run(playing.play(asked_at(0, 2 * HOUR - 1, 2 * HOUR + 1), {}, [Change(change.ts, lambda: [change])]))
    assert written == {0: 0, 1: 0, 2: 1}
    assert told == [change]


def test_a_change_is_made_when_its_time_has_come_and_in_force_before_the_next_question(streams, clock):
    pipeline = Pipeline(streams)
    made, looks = [], []

    def make():
        made.append(len(pipeline.asked))
        return []

    def settled():
        looks.append(len(pipeline.asked))
        return len(looks) == 3

    changes = [Change(HOUR, make, settled)]
    asyncio.run(feeder(streams, pipeline.ask, clock).play(asked_at(0, 1, HOUR, 2 * HOUR), {}, changes))
    assert made == [2]
    assert looks == [2, 2, 2]


def test_the_next_step_waits_until_the_tail_has_caught_up(streams, clock):
    pipeline = Pipeline(streams)
    looks = Counter()

    def caught_up():
        looks[len(pipeline.asked)] += 1
        return looks[len(pipeline.asked)] >= 4

    asyncio.run(feeder(streams, pipeline.ask, clock, caught_up).play(asked_at(0, 1, HOUR, 2 * HOUR), {}))
    # Before the first question, and after each step.
    assert looks == {0: 4, 2: 4, 3: 4, 4: 4}


def test_a_model_that_is_dead_is_waited_for_and_then_left_behind(streams, clock):
    pipeline = Pipeline(streams, scored=0)
    served = asyncio.run(feeder(streams, pipeline.ask, clock).play(asked_at(0, HOUR), {}))
    assert served.answers == 2
    assert served.incomplete_steps == 2
    assert 6 <= clock.now < 7


def test_what_lies_on_the_streams_before_does_not_count_as_scored(streams, clock):
    streams.append("scores", [(b"", b"{}")] * 100)
    served = asyncio.run(feeder(streams, Pipeline(streams, scored=0).ask, clock).play(asked_at(0), {}))
    assert served.incomplete_steps == 1


def test_speed_spreads_the_questions_over_time(streams, clock):
    times = {}

    async def ask(question):
        times[question.row] = clock.now
        return await Pipeline(streams).ask(question)

    asyncio.run(feeder(streams, ask, clock, speed=60.0).play(asked_at(0, 600, 1200, HOUR), {}))
    assert times[1] == pytest.approx(10)
    assert times[2] == pytest.approx(20)
    assert times[3] == pytest.approx(60)


def test_nothing_to_ask_is_nothing_served(streams, clock):
    assert asyncio.run(feeder(streams, Pipeline(streams).ask, clock).play([], {})).requests == 0


def test_what_ends_the_run_ends_the_waiting(streams, clock):
    def caught_up():
        raise RuntimeError("the gateway has died")

    with pytest.raises(RuntimeError, match="the gateway has died"):
        asyncio.run(feeder(streams, Pipeline(streams).ask, clock, caught_up).play(asked_at(0), {}))
