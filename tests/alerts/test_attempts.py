"""What the delivery shows of itself."""

from prometheus_client import CollectorRegistry

from birdwatch.alerts.attempts import Attempts, AttemptsMetrics


def test_attempts_are_counted_by_sink_and_result():
    metrics = AttemptsMetrics(["chat", "pager"], lambda: None)
    registry = CollectorRegistry()
    registry.register(metrics)
    metrics.turn("pager", Attempts(2, 1))
    metrics.turn("pager", Attempts(1, 0))

    def counted(sink, result):
        return registry.get_sample_value("birdwatch_alerts_attempts_total", {"sink": sink, "result": result})

    assert [counted("pager", "delivered"), counted("pager", "failed")] == [3, 1]
    assert [counted("chat", "delivered"), counted("chat", "failed")] == [0, 0]


def test_it_is_at_work_while_every_sink_has_its_turn():
    beats = []
    metrics = AttemptsMetrics(["chat", "pager"], lambda: beats.append(1))
    for _ in range(3):
        metrics.turn("chat", Attempts())
    assert beats == []
    metrics.turn("pager", Attempts())
    metrics.turn("pager", Attempts())
    assert beats == [1]
    metrics.turn("chat", Attempts())
    assert beats == [1, 1]
