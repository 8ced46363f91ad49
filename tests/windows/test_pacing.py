"""Back pressure: what runs ahead waits for the slowest, and never the other way round."""

from birdwatch.streams import Partition
from birdwatch.windows.pacing import Pacing
from birdwatch.windows.watermark import Watermark

REQUESTS, SCORES = Partition("requests"), Partition("scores")


class Paused(set):
    def pause(self, partitions):
        self.update(partitions)

    def resume(self, partitions):
        self.difference_update(partitions)


def seen(**latest):
    mark = Watermark(idle_seconds=30)
    mark.see(REQUESTS, "", latest.pop("requests"), now=0.0)
    for model, ts in latest.items():
        mark.see(SCORES, model, ts, now=0.0)
    return mark


def test_a_stream_that_is_ahead_waits_once_too_many_rows_do():
    reader, mark = Paused(), seen(requests=1000.0, m1=100.0)
    pacing = Pacing(reader, most_rows=10)
    pacing.step(10, [mark], now=1.0)
    assert reader == set()
    pacing.step(11, [mark], now=1.0)
    assert reader == {REQUESTS}


def test_it_goes_on_when_half_of_them_have_gone():
    reader, mark = Paused(), seen(requests=1000.0, m1=100.0)
    pacing = Pacing(reader, most_rows=10)
    pacing.step(11, [mark], now=1.0)
    pacing.step(6, [mark], now=1.0)
    assert reader == {REQUESTS}
    pacing.step(5, [mark], now=1.0)
    assert reader == set()


def test_a_stream_with_the_slowest_model_goes_on_however_far_its_other_models_are():
    reader, mark = Paused(), seen(requests=500.0, m1=1000.0, m2=100.0)
    Pacing(reader, most_rows=10).step(11, [mark], now=1.0)
    assert reader == {REQUESTS}


def test_when_another_has_become_the_slowest_that_one_goes_on():
    reader, mark = Paused(), seen(requests=1000.0, m1=100.0)
    pacing = Pacing(reader, most_rows=10)
    pacing.step(11, [mark], now=1.0)
    mark.see(SCORES, "m1", 2000.0, now=1.0)
    pacing.step(11, [mark], now=1.0)
    assert reader == {SCORES}


def test_a_dead_model_keeps_nobody_waiting():
    reader, mark = Paused(), seen(requests=1000.0, m1=1000.0, dead=10.0)
    mark.see(REQUESTS, "", 1000.0, now=100.0)
    mark.see(SCORES, "m1", 1000.0, now=100.0)
    Pacing(reader, most_rows=10).step(11, [mark], now=101.0)
    assert reader == set()


def test_silence_of_what_is_paused_is_not_silence():
    reader, mark = Paused(), seen(requests=1000.0, m1=100.0)
    pacing = Pacing(reader, most_rows=10)
    for now in range(1, 100):
        mark.see(SCORES, "m1", 100.0 + now, now=float(now))
        pacing.step(11, [mark], now=float(now))
    mark.see(SCORES, "m1", 5000.0, now=100.0)
    assert mark.value(now=100.0) == 1000.0  # the requests still count


def test_what_was_taken_away_is_not_held_back_when_it_returns():
    reader, mark = Paused(), seen(requests=1000.0, m1=100.0)
    pacing = Pacing(reader, most_rows=10)
    pacing.step(11, [mark], now=1.0)
    pacing.forget([REQUESTS, SCORES])
    assert reader == pacing.paused == set()
