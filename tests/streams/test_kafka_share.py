"""What a reader holds through rebalances, told without a broker."""

import pytest

from birdwatch.errors import StreamError
from birdwatch.streams import Changes, Committed, Gap, Partition
from birdwatch.streams.kafka_share import KafkaShare, Log

A, B = Partition("scores", 0), Partition("scores", 1)
FRESH = Log("id", 0, 100)
NOTHING = Changes(frozenset(), {})


def back(*partitions):
    return Changes(frozenset(), {}, frozenset(partitions))


def started(on_lost="earliest", member=None):
    """A share that was given both partitions, and has been told of it."""
    share = KafkaShare({}, on_lost)
    share.give([A, B], member)
    share.start({A: FRESH, B: FRESH})
    assert share.changes() == Changes(frozenset(), {A: None, B: None})
    share.next |= {A: 10, B: 20}
    return share


def test_what_comes_back_from_a_rebalance_goes_on_where_it_was_left():
    share = started()
    share.take_away()
    assert share.next == {}
    assert share.holds([A, B])
    share.give([A, B])
    share.start({A: FRESH, B: FRESH})
    assert share.next == {A: 10, B: 20}
    assert share.changes() == back(A, B)
    assert share.changes() == NOTHING


def test_who_is_another_member_after_a_rebalance_was_thought_dead_meanwhile():
    share = started(member="first")
    share.take_away()
    share.give([A], "first")
    share.start({A: FRESH})
    assert share.changes() == Changes(frozenset({B}), {}, frozenset({A}))
    share.take_away()
    share.give([A], "second")
    assert not share.holds([A])
    share.start({A: FRESH})
    assert share.next == {A: 0}
    assert share.changes() == Changes(frozenset({A}), {A: None})


def test_what_was_lost_right_after_it_came_back_is_only_lost():
    share = started()
    share.take_away()
    share.give([A, B])
    share.start({A: FRESH, B: FRESH})
    share.lose()
    assert share.changes() == Changes(frozenset({A, B}), {})


def test_what_does_not_come_back_is_taken_and_begins_at_the_commit_when_it_comes_later():
    share = started()
    share.take_away()
    share.give([A])
    share.start({A: FRESH})
    assert share.changes() == Changes(frozenset({B}), {}, frozenset({A}))
    assert not share.holds([B])
    share.take_away()
    share.give([A, B])
    share.start({A: FRESH, B: FRESH._replace(committed=Committed(5, "note"))})
    assert share.next == {A: 10, B: 5}
    assert share.changes() == Changes(frozenset(), {B: Committed(5, "note")}, frozenset({A}))


def test_what_comes_back_is_another_if_somebody_has_committed_in_between():
    share = started()
    share.take_away()
    share.give([A, B])
    share.start({A: FRESH._replace(committed=Committed(7)), B: FRESH})
    assert share.next == {A: 7, B: 20}
    assert share.changes() == Changes(frozenset({A}), {A: Committed(7)}, frozenset({B}))


def test_ones_own_commits_do_not_make_it_another():
    share = started()
    share.kept |= {A: Committed(7, "note")}
    share.take_away()
    share.give([A, B])
    share.start({A: FRESH._replace(committed=Committed(7, "note")), B: FRESH})
    assert share.next == {A: 10, B: 20}
    assert share.changes() == back(A, B)


def test_nothing_counts_after_it_was_lost_even_if_it_comes_back():
    share = started()
    share.lose()
    assert not share.holds([A])
    share.give([A, B])
    share.start({A: FRESH, B: FRESH._replace(committed=Committed(3))})
    assert share.next == {A: 0, B: 3}
    assert share.changes() == Changes(frozenset({A, B}), {A: None, B: Committed(3)})


def test_a_second_rebalance_before_the_first_has_been_settled_changes_nothing():
    share = started()
    share.take_away()
    share.give([A, B])
    share.take_away()
    share.give([A, B])
    share.start({A: FRESH, B: FRESH})
    assert share.next == {A: 10, B: 20}
    assert share.changes() == back(A, B)


def test_what_is_not_told_yet_goes_on_waiting():
    share = KafkaShare({}, "earliest")
    share.give([A, B])
    share.start({A: FRESH})
    assert share.next == {A: 0}
    assert share.waiting == {B}


def test_what_cannot_be_trusted_begins_anew_at_the_commit():
    share = started()
    share.read_anew([A])
    assert share.next == {B: 20}
    share.start({A: FRESH._replace(committed=Committed(9, "note"))})
    assert share.next == {A: 9, B: 20}
    assert share.changes() == Changes(frozenset({A}), {A: Committed(9, "note")})


def test_a_topic_of_another_identity_is_read_from_its_beginning():
    share = started()
    share.appear({"scores": ("id", 2)}, alone=False)
    assert share.waiting == set()
    share.appear({"scores": ("another", 2)}, alone=False)
    assert share.waiting == {A, B}
    another = Log("another", 0, 500)
    share.start({A: another, B: another})
    assert share.next == {A: 0, B: 0}
    assert share.gaps() == [Gap(A, 10, 0, "made anew"), Gap(B, 20, 0, "made anew")]
    assert share.gaps() == []
    assert share.changes() == NOTHING


def test_a_topic_of_another_identity_that_somebody_else_has_begun_is_theirs_to_tell_of():
    share = started()
    share.take_away()
    share.give([])
    share.give([A])
    share.start({A: Log("another", 0, 500, Committed(40))})
    assert share.next == {A: 40}
    assert share.gaps() == []


def test_a_log_that_lost_its_end_goes_on_there_and_is_not_counted_again():
    share = started()
    share.waiting.add(B)
    share.start({B: FRESH._replace(end=15)})
    assert share.next == {A: 10, B: 15}
    assert share.gaps() == [Gap(B, 20, 15, "cut short")]


@pytest.mark.parametrize(("on_lost", "found"), [("earliest", 50), ("latest", 100)])
def test_trimmed_messages_are_skipped_by_the_rule(on_lost, found):
    share = started(on_lost)
    share.waiting.add(A)
    share.start({A: FRESH._replace(begin=50)})
    assert share.next == {A: found, B: 20}
    assert share.gaps() == [Gap(A, 10, found, "trimmed")]


def test_the_rule_stop_leaves_all_as_it_was():
    share = started("stop")
    share.waiting |= {A, B}
    for _ in range(2):
        with pytest.raises(StreamError, match=r"scores, partition 0: messages from offset 10 on"):
            share.start({A: FRESH._replace(begin=50), B: FRESH})
    assert share.waiting == {A, B}
    assert share.gaps() == []


def test_a_reader_of_all_takes_up_what_appears_and_lets_go_of_what_is_gone():
    share = started()
    share.appear({"scores": ("id", 3)}, alone=True)
    assert share.waiting == {Partition("scores", 2)}
    share.waiting.clear()
    assert share.appear({"scores": ("id", 1)}, alone=True)
    assert share.next == {A: 10}


def test_offsets_sought_before_a_partition_is_given_count_when_it_is():
    share = KafkaShare({A: 60}, "earliest")
    share.seek({A: 30})
    share.give([A, B])
    share.start({A: FRESH, B: FRESH._replace(begin=5, committed=None)})
    assert share.next == {A: 30, B: 5}
