from birdwatch.records import Result, Token, encode
from birdwatch.serving.gateway.desk import Desk, Pending
from birdwatch.streams import Message
from birdwatch.testing import a_request


def result(request_id, score=0.5):
    record = Result(request_id=request_id, request_ts=0, ts=0, model="m", version="1", score=score)
    return Message("results", 0, 0, request_id.encode(), encode(record))


def request(request_id):
    return Message("requests", 0, 0, request_id.encode(), encode(a_request(id=request_id)))


def test_the_first_result_counts():
    desk = Desk()
    desk.take([request("a"), result("a", 0.1), result("a", 0.2)], now=0.0)
    assert desk.answered("a").score == 0.1
    assert desk.pending("a") is None


def test_a_request_in_the_log_is_open_until_it_is_answered():
    desk = Desk()
    desk.take([request("a")], now=0.0)
    assert desk.pending("a").deadline_seconds == 1.0
    desk.take([result("a")], now=0.0)
    assert desk.pending("a") is None


def test_a_result_may_be_read_before_its_request():
    desk = Desk()
    desk.take([result("a"), request("a")], now=0.0)
    assert desk.pending("a") is None
    assert desk.answered("a") is not None


def test_answers_are_forgotten_after_the_horizon():
    desk = Desk(horizon_seconds=10.0)
    desk.take([result("a"), request("open")], now=0.0)
    desk.take([result("b")], now=9.0)
    desk.take([], now=11.0)
    assert desk.answered("a") is None
    assert desk.pending("open") is None
    assert desk.answered("b") is not None


def test_no_more_answers_are_kept_than_allowed():
    desk = Desk(most=100)
    desk.take([result(str(i)) for i in range(250)], now=0.0)
    assert desk.answered("149") is None
    assert desk.answered("150") is not None


def test_its_own_requests_read_back_from_the_log_change_nothing():
    desk = Desk()
    mine = Pending("a", 0.0, 0.0, 1.0)
    desk.add(mine, now=0.0)
    desk.take([request("a")], now=0.0)
    assert desk.pending("a") is mine


def test_what_cannot_be_read_is_counted():
    desk = Desk()
    bad = [Message("results", 0, 0, b"", b"{"), Message("requests", 0, 0, b"\xff", b"{}")]
    assert desk.take(bad, now=0.0) == 2


def test_a_token_among_the_requests_is_passed_by():
    desk = Desk()
    token = Token(token="t1", component="features", to="x:y", by="gateway")
    assert desk.take([Message("requests", 0, 0, b"t1", encode(token)), request("a")], now=0.0) == 0
    assert desk.pending("t1") is None
    assert desk.pending("a") is not None


def test_what_an_answer_repeats_of_its_request_is_read_from_the_log():
    desk = Desk()
    logged = a_request(id="a", reply_to="other", override="m", override_by="rule")
    desk.take([Message("requests", 0, 0, b"a", encode(logged))], now=0.0)
    assert (desk.pending("a").reply_to, desk.pending("a").override_by) == ("other", "rule")


def test_an_answer_that_was_given_without_the_log_is_given_again_whatever_the_log_says_later():
    desk = Desk()
    mine = Pending("a", 0.0, 0.0, 1.0)
    desk.add(mine, now=0.0)
    given = Result(request_id="a", request_ts=0, ts=0, model="default", version="1", score=0.1)
    desk.answer(mine, given, now=1.0)
    assert desk.answered("a") is given
    assert desk.pending("a") is None
    desk.take([request("a"), result("a", 0.9)], now=60.0)
    assert desk.answered("a") is given
    assert desk.contradicted == 1


def test_a_log_that_confirms_what_was_given_without_it_contradicts_nothing():
    desk = Desk()
    given = Result(request_id="a", request_ts=0, ts=0, model="m", version="1", score=0.5)
    desk.answer(Pending("a", 0.0, 0.0, 1.0), given, now=1.0)
    desk.take([result("a", 0.5), result("a", 0.9)], now=60.0)
    assert desk.contradicted == 0
