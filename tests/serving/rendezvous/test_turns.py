from birdwatch.records import Control, Token
from birdwatch.serving.rendezvous.turns import Turns


def token(to, component="rendezvous"):
    return Token(token=f"to {to}", component=component, to=to)


def swapped(to, **at):
    params = {"component": "rendezvous", "to": to, "at": {p.removeprefix("p"): o for p, o in at.items()}}
    return Control(ts=0.0, action="swapped", author="a", reason="b", params=params)


def owners(partition, offsets, *names, cuts=()):
    """Say for each offset which of some instances takes it for its own."""
    instances = [Turns(name) for name in names]
    for instance in instances:
        for cut in cuts:
            instance.cut(*cut)
    return [[i.name for i in instances if i.mine(partition, offset)] for offset in offsets]


def test_without_a_cut_the_first_instance_handles_all():
    assert owners(0, [0, 10**9], "rendezvous", "second") == [["rendezvous"], ["rendezvous"]]


def test_each_request_is_exactly_one_instances_on_either_side_of_each_cut():
    cuts = [(0, 10, token("second")), (0, 20, token("third")), (0, 30, token("second"))]
    found = owners(0, [9, 11, 19, 21, 29, 31], "rendezvous", "second", "third", cuts=cuts)
    assert found == [["rendezvous"], ["second"], ["second"], ["third"], ["third"], ["second"]]


def test_the_order_in_which_cuts_are_learnt_does_not_matter():
    cuts = [(0, 30, token("second")), (0, 10, token("second")), (0, 20, token("third"))]
    assert owners(0, [15, 25, 35], "second", "third", cuts=cuts) == [["second"], ["third"], ["second"]]


def test_each_partition_is_cut_where_its_token_lies():
    turns = Turns("second")
    turns.cut(0, 10, token("second"))
    assert (turns.mine(0, 11), turns.mine(1, 11)) == (True, False)
    turns.cut(1, 20, token("second"))
    assert (turns.mine(1, 11), turns.mine(1, 21)) == (False, True)


def test_taking_over_is_told_once():
    turns = Turns("second")
    assert turns.cut(0, 10, token("second"))
    assert not turns.cut(0, 10, token("second"))
    assert not turns.cut(0, 20, token("third"))


def test_after_a_restart_the_cut_is_known_from_control():
    turns = Turns("second")
    turns.apply(swapped("second", p0=10))
    assert turns.mine(0, 11)
    assert not turns.mine(0, 9)
    assert not turns.cut(0, 10, token("second"))
    assert turns.in_charge


def test_a_swap_of_the_features_concerns_no_rendezvous():
    turns = Turns("rendezvous")
    assert not turns.cut(0, 10, token("rendezvous", "features"))
    assert turns.mine(0, 11)


def test_damaged_records_are_passed_by():
    turns = Turns("rendezvous")
    for params in (
        {},
        {"to": "x"},
        {"to": 1, "at": {"0": 1}},
        {"to": "x", "at": {"zero": 1}},
        {"to": "x", "at": {"0": "1"}},
    ):
        record = {"component": "rendezvous"} | params
        turns.apply(Control(ts=0.0, action="swapped", author="a", reason="b", params=record))
    assert turns.mine(0, 5)
