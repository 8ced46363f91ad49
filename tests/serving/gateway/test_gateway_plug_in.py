"""The plug-in of a gateway: what it injects, what it remembers, and how another takes its place."""

import threading

import pytest

from birdwatch.records import Control, Request, Snapshot, as_token, decode, encode

from .gateways import answering, gateway, requests, wait_for


def test_features_are_injected_once_so_that_all_models_see_the_same_bytes(streams):
    calls = []

    def weather(features, ts):
        calls.append(ts)
        return {**features, "wind": 3.5, "call": len(calls)}

    with answering(streams), gateway(streams, inject=weather) as client:
        client.post("/v1/score", json={"features": {"x": 1}, "ts": 9.0})
    assert calls == [9.0]
    assert [r.features for r in requests(streams)] == [{"x": 1, "wind": 3.5, "call": 1}]
    seen_by_two = [streams.reader(["requests"]).poll(timeout=0.0)[0].value for _ in range(2)]
    assert seen_by_two[0] == seen_by_two[1]


@pytest.mark.parametrize(
    ("inject", "words"),
    [
        (lambda features, ts: {"origin": features["origin"]}, "KeyError: 'origin'"),
        (lambda features, ts: {"what": object()}, "TypeError"),
    ],
)
def test_features_that_the_plug_in_cannot_use_are_refused(streams, inject, words):
    with gateway(streams, inject=inject) as client:
        response = client.post("/v1/score", json={"features": {}})
    assert response.status_code == 422
    assert words in response.json()["error"]


def test_a_plug_in_that_gives_no_dictionary_is_named(streams):
    with gateway(streams, inject=lambda features, ts: [features]) as client:
        response = client.post("/v1/score", json={"features": {}})
    assert (response.status_code, response.json()["error"]) == (
        422,
        "features: the plug-in gave list for them, not a dictionary",
    )


def test_what_grows_too_large_by_what_is_injected_is_refused(streams):
    with gateway(streams, inject=lambda features, ts: {**features, "map": "x" * 900_000}) as client:
        response = client.post("/v1/score", json={"features": {}})
    assert response.status_code == 413
    assert "900000 are allowed" in response.json()["error"]
    assert requests(streams) == []


class Counting:
    """Injects how many requests there were."""

    def __init__(self, tag="old"):
        self.n = 0
        self.tag = tag

    def __call__(self, features, ts):
        self.n += 1
        return {**features, "n": self.n, "by": self.tag}

    def snapshot(self):
        return self.n

    def restore(self, state):
        self.n = state

    def observe(self, features, ts):
        self.n += 1


def test_what_a_plug_in_remembers_outlives_the_gateway(streams):
    for _ in range(2):
        with answering(streams, lambda _: 0.5), gateway(streams, inject=Counting(), target="x:y") as client:
            for _ in range(3):
                client.post("/v1/score", json={"features": {}})
    assert [r.features["n"] for r in requests(streams)] == [1, 2, 3, 4, 5, 6]
    kept = [decode(m.value, Snapshot) for m in streams.reader(["snapshots"]).poll(timeout=0.0)]
    # At the first start, at its end, at the second start, at its end: in between fewer than ten seconds pass.
    assert [(each.by, each.state["state"]) for each in kept] == [("gateway", n) for n in (0, 3, 3, 6)]


def test_what_it_remembers_is_kept_every_so_often_when_requests_came(streams):
    with (
        answering(streams, lambda _: 0.5),
        gateway(streams, inject=Counting(), target="x:y", snapshot_seconds=0.02) as client,
    ):

        def kept():
            messages = streams.reader(["snapshots"]).poll(timeout=0.0)
            return [decode(message.value, Snapshot).state["state"] for message in messages]

        client.post("/v1/score", json={"features": {}})
        wait_for(lambda: kept() == [0, 1])
        threading.Event().wait(0.2)  # ten times as long: nothing came, and nothing is kept
        assert kept() == [0, 1]
        client.post("/v1/score", json={"features": {}})
        wait_for(lambda: kept() == [0, 1, 2])
    assert kept() == [0, 1, 2]


def test_a_swap_on_control_changes_the_plug_in_between_two_requests_under_load(streams, monkeypatch):
    monkeypatch.setattr("birdwatch.serving.features.plugin.find_callable", lambda name: {"p:new": Counting}[name])
    swap = Control(
        ts=0,
        action="swap",
        author="ann",
        reason="?",
        params={"component": "features", "token": "t1", "target": "p:new", "config": ["new"]},
    )

    def controls(action):
        messages = streams.reader(["control"]).poll(timeout=0.0)
        return [each for each in (decode(m.value, Control) for m in messages) if each.action == action]

    with answering(streams, lambda _: 0.5), gateway(streams, inject=Counting(), target="p:old") as client:
        stop = threading.Event()

        def ask():
            while not stop.is_set():
                assert client.post("/v1/score", json={"features": {}}).status_code == 200

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(requests(streams)) > 20)
        streams.append("control", [(b"", encode(swap))])
        wait_for(lambda: controls("swapped"))
        n = len(requests(streams))
        wait_for(lambda: len(requests(streams)) > n + 20)
        stop.set()
        for thread in threads:
            thread.join()
    messages = streams.reader(["requests"]).poll(limit=10**6, timeout=0.0)
    [at] = [message.offset for message in messages if as_token(message.value)]
    seen = [decode(m.value, Request).features for m in messages if m.offset != at]
    assert [features["n"] for features in seen] == list(range(1, len(seen) + 1))
    assert [features["by"] for features in seen] == ["old"] * at + [["new"]] * (len(seen) - at)
    [done] = controls("swapped")
    assert done.params == {"component": "features", "token": "t1", "by": "gateway", "at": {"0": at}}


def test_a_swap_that_cannot_be_is_said_and_the_old_plug_in_goes_on(streams, capsys):
    with answering(streams, lambda _: 0.5), gateway(streams, inject=Counting(), target="p:old") as client:
        for params in ({"token": "t1", "target": "json:nothing"}, {"target": "json:loads"}):
            params["component"] = "features"
            swap = Control(ts=0, action="swap", author="ann", reason="?", params=params)
            streams.append("control", [(b"", encode(swap))])
        said = ""

        def both():
            nonlocal said
            said += capsys.readouterr().err
            return "swap 't1' is refused: 'json:nothing'" in said and "need a token and a target" in said

        wait_for(both)
        client.post("/v1/score", json={"features": {}})
    assert [r.features["by"] for r in requests(streams)] == ["old"]
