import threading

import pytest

from birdwatch.errors import ServingError
from birdwatch.serving.runner.model import Answer, Spec
from birdwatch.serving.runner.worker import Worker

SPEC = Spec("1", "some:model")


@pytest.fixture
def gate():
    made = threading.Event()
    yield made
    made.set()


def working(model):
    worker = Worker(SPEC, lambda spec: model)
    assert worker.loaded(60.0)
    return worker


def test_it_loads_and_calls_the_model_in_one_thread_that_is_not_the_callers():
    threads = []

    def load(spec):
        threads.append(threading.current_thread())
        return lambda batch: [threads.append(threading.current_thread()) or 1.5 for _ in batch]

    worker = Worker(SPEC, load)
    assert worker.loaded(60.0)
    scored = worker.score([{}], 60.0, "r1")
    assert scored.answers == [Answer(1.5)]
    assert scored.seconds >= 0
    assert threads[0] is threads[1] is not threading.current_thread()
    assert threads[0].daemon
    worker.close()
    assert not threads[0].is_alive()


def test_it_says_what_cannot_be_loaded_whatever_is_raised(gate):
    def load(spec):
        raise SystemExit("no licence")

    with pytest.raises(ServingError, match="some:model: SystemExit: no licence"):
        Worker(SPEC, load).loaded(60.0)
    assert Worker(SPEC, lambda spec: gate.wait(60)).loaded(0.0) is False


def test_a_result_that_comes_too_late_is_dropped(gate):
    worker = working(lambda batch: [row["x"] for row in batch if row["x"] or gate.wait(60)] or [0])
    assert worker.score([{"x": 0}], 0.0, "the first") is None
    assert worker.stuck() == "the first"
    gate.set()
    assert worker.stuck(60.0) == ""
    assert worker.score([{"x": 2}], 60.0, "the second").answers == [Answer(2.0)]
    worker.close()


def test_a_model_that_nobody_waits_for_is_not_asked_row_by_row(gate):
    calls = []

    def model(batch):
        calls.append(len(batch))
        gate.wait(60)
        raise ValueError("no")

    worker = working(model)
    assert worker.score([{}, {}, {}], 0.0, "r1") is None
    gate.set()
    worker.stuck(60.0)
    assert calls == [3]
    worker.close()


def test_one_that_hangs_is_not_waited_for_at_the_end(gate):
    worker = working(lambda batch: gate.wait(60))
    worker.score([{}], 0.0, "r1")
    worker.close()
    assert not gate.is_set()
