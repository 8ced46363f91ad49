import asyncio
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdwatch.errors import ServingError, StreamError
from birdwatch.records import Control, Request, Snapshot, as_token, decode, encode
from birdwatch.serving.features import plugin
from birdwatch.serving.features.extraction import Extraction
from birdwatch.serving.snapshots import latest
from birdwatch.streams import Message, Partition
from birdwatch.testing import FakeClock, MemoryStreams, a_request


class Counting:
    """Injects how many requests there were, and which plug-in says so."""

    tag = "old"

    def __init__(self):
        self.n = 0

    def __call__(self, features, ts):
        self.n += 1
        return {**features, "n": self.n, "by": self.tag}

    def snapshot(self):
        return {"n": self.n}

    def restore(self, state):
        self.n = state["n"]

    def observe(self, features, ts):
        assert features["n"] == self.n + 1, "observed out of order, twice, or not at all"
        self.n += 1


class Newer(Counting):
    tag = "new"


class Newest(Counting):
    tag = "newest"


class CannotRestore(Counting):
    def restore(self, state):
        raise ValueError("another format")


class CannotSnapshot(Counting):
    def snapshot(self):
        return object()


def stateless(features, ts):
    return {**features, "by": "stateless"}


@pytest.fixture(autouse=True)
def plug_ins(monkeypatch):
    """Name this module's plug-ins as an operator would, though pytest imports it under a name of its own."""
    find(monkeypatch.setattr)


def find(setattr_):
    ours = {f"plug:{name}": value for name, value in globals().items()}
    real = plugin.find_callable
    setattr_(plugin, "find_callable", lambda name: ours[name] if name in ours else real(name))


class Queue:
    """A writer whose thread runs when the test says so: whatever waits when it is killed is never written."""

    def __init__(self, streams):
        self._streams = streams
        self._waiting = deque()
        self.written = 0

    def append(self, stream, key, value, failed):
        self._waiting.append((lambda: self._streams.append(stream, [(key, value)]), Future()))

    def then(self, run):
        done = Future()
        self._waiting.append((run, done))
        return done

    def write(self):
        """Do the next thing that waits; say whether there was one."""
        if not self._waiting:
            return False
        run, done = self._waiting.popleft()
        try:
            done.set_result(run())
        except StreamError as error:
            done.set_exception(error)
        self.written += 1
        return True


class AtOnce(ThreadPoolExecutor):
    """Does in the calling thread what would be done in another, so that every run is the same."""

    def submit(self, run, /, *args, **kwargs):
        done = Future()
        try:
            done.set_result(run(*args, **kwargs))
        except ServingError as error:
            done.set_exception(error)
        return done


class KilledError(Exception):
    pass


class Process:
    """One life of a gateway, as far as its features go, stepped by hand; killed by not stepping it any more."""

    def __init__(self, streams, target="plug:Counting", name="g"):
        from birdwatch.serving.features.plugin import load_features

        self.streams = streams
        self.name = name
        self.now = 0.0
        self.queue = Queue(streams)
        self.extraction = Extraction(
            streams, load_features(target), name=name, target=target, clock=FakeClock(), snapshot_seconds=3600
        )
        self.extraction.recover()
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(AtOnce())
        self.tasks = []

    def ask(self, request_id):
        features = self.extraction({"x": 1}, 0.0)
        self.now += 1
        request = a_request(id=request_id, received_ts=self.now, features=features, reply_to=self.name)
        self.queue.append("requests", request_id.encode(), encode(request), None)

    def swap(self, token):
        self.begin(self.extraction.swap(self.extraction._swaps[token], self.queue))
        self.turn()

    def keep(self):
        self.begin(self.extraction.keep(self.queue))
        self.turn()

    def begin(self, coroutine):
        self.tasks.append(self.loop.create_task(coroutine))

    def tick(self):
        """Let the event loop go round once."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def turn(self):
        """Let the event loop go on as far as it can without the writer."""
        for _ in range(20):
            self.tick()

    def write(self):
        wrote = self.queue.write()
        self.turn()
        return wrote

    def finish(self):
        self.turn()
        while self.write():
            pass
        for task in self.tasks:
            if task.done():
                task.result()

    def end(self):
        for task in self.tasks:
            task.cancel()
        self.turn()
        self.loop.close()


@pytest.fixture
def streams():
    return MemoryStreams()


def swap_on_control(streams, token, target, **fields):
    control = Control(
        ts=0,
        action="swap",
        author="ann",
        reason="a test",
        params={"component": "features", "token": token, "target": target, **fields},
    )
    streams.append("control", [(b"", encode(control))])
    return control


def log(streams, name="g"):
    """Give what lies on `requests` for one gateway: (n, by) of requests, and tokens."""
    found = []
    for message in streams.reader(["requests"]).poll(limit=10**6, timeout=0.0):
        token = as_token(message.value)
        if token is None:
            request = decode(message.value, Request)
            if request.reply_to == name:
                found.append((request.features.get("n"), request.features["by"]))
        elif token.by == name:
            found.append(token.token)
    return found


def swapped(streams):
    reader = streams.reader(["control"])
    values = [message.value for messages in iter(lambda: reader.poll(timeout=0.0), []) for message in messages]
    controls = [decode(value, Control) for value in values]
    return [control.params for control in controls if control.action == "swapped"]


def test_at_a_swap_the_new_plug_in_begins_where_the_old_one_ends(streams):
    process = Process(streams)
    process.ask("a")
    process.ask("b")
    process.extraction.offer(swap_on_control(streams, "t1", "plug:Newer"))
    process.swap("t1")
    process.ask("c")  # it is loaded, but its cut has not been made: the snapshot before it is not written yet
    process.finish()
    process.ask("d")
    process.finish()
    process.end()
    assert log(streams) == [(1, "old"), (2, "old"), (3, "old"), "t1", (4, "new")]
    assert swapped(streams) == [{"component": "features", "token": "t1", "by": "g", "at": {"0": 3}}]


def test_what_waits_for_the_writer_when_the_cut_is_made_stays_before_it(streams):
    process = Process(streams)
    process.extraction.offer(swap_on_control(streams, "t1", "plug:Newer"))
    process.swap("t1")
    process.ask("a")
    process.write()  # the snapshot: the cut is made, with a request still waiting
    process.ask("b")
    process.finish()
    process.end()
    assert log(streams) == [(1, "old"), "t1", (2, "new")]


def test_a_request_may_come_between_any_two_rounds_of_the_loop(streams):
    process = Process(streams)
    process.extraction.offer(swap_on_control(streams, "t1", "plug:Newer"))
    process.begin(process.extraction.swap(process.extraction._swaps["t1"], process.queue))
    for i in range(30):
        process.ask(f"r{i}")
        process.tick()
        process.queue.write()
    process.finish()
    process.end()
    check(streams, ["t1"])
    assert {by for _, by in (each for each in log(streams) if each != "t1")} == {"old", "new"}


def run_a_swap(streams, writes):
    """Kill a process that swaps after so many writes; say how many there would have been."""
    process = Process(streams)
    ids = iter(range(1000))
    process.ask(f"r{next(ids)}")
    process.finish()
    process.extraction.offer(swap_on_control(streams, "t1", "plug:Newer"))
    process.ask(f"r{next(ids)}")
    process.swap("t1")
    done = 0
    while done < writes:
        process.ask(f"r{next(ids)}")
        if not process.write():
            break
        done += 1
    process.end()


@pytest.mark.parametrize("writes", range(20))
def test_killed_at_any_write_of_a_swap_the_next_start_ends_it(streams, writes):
    run_a_swap(streams, writes)
    second = Process(streams)
    second.ask("last")
    second.finish()
    second.end()
    check(streams, ["t1"])
    assert [params["token"] for params in swapped(streams)] == ["t1"]
    assert log(streams)[swapped(streams)[0]["at"]["0"]] == "t1"
    assert log(streams)[-1][1] == "new"


def test_the_kills_above_reach_from_before_the_snapshot_to_after_the_record(streams):
    run_a_swap(streams, 0)
    assert latest(streams, "features", "g").token == ""
    assert "t1" not in log(streams)
    beyond = MemoryStreams()
    run_a_swap(beyond, 19)
    assert [params["token"] for params in swapped(beyond)] == ["t1"]


ORDER = {"": "old", "t1": "new", "t2": "newest", "t3": "old"}
TARGETS = {"t1": "plug:Newer", "t2": "plug:Newest", "t3": "plug:Counting"}


def check(streams, tokens):
    """Every request counts once, in order; the plug-in changes at each token and nowhere else; no token lies there twice."""
    phase = ""
    expected = 1
    seen = []
    for each in log(streams):
        if isinstance(each, str):
            assert each not in seen
            seen.append(each)
            phase = each
        else:
            assert each == (expected, ORDER[phase])
            expected += 1
    assert set(seen) <= set(tokens)


actions = st.one_of(
    st.sampled_from(["ask", "ask", "write", "write", "tick", "tick", "tick", "keep", "kill"]),
    st.sampled_from(["t1", "t2", "t3"]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(actions, max_size=60))
def test_however_it_comes_about_no_request_is_lost_or_counted_twice(plan):
    with pytest.MonkeyPatch.context() as patch:
        find(patch.setattr)
        streams = MemoryStreams()
        process = Process(streams)
        tokens = []
        asked = 0
        for action in plan:
            if action == "ask":
                asked += 1
                process.ask(f"r{asked}")
            elif action == "write":
                process.queue.write()
            elif action == "tick":
                process.tick()
            elif action == "keep" and all(task.done() for task in process.tasks):
                process.begin(process.extraction.keep(process.queue))
            elif action == "kill":
                process.end()
                process = Process(streams)
            elif action in TARGETS and action not in tokens and all(task.done() for task in process.tasks):
                tokens.append(action)
                process.extraction.offer(swap_on_control(streams, action, TARGETS[action]))
                process.begin(process.extraction.swap(process.extraction._swaps[action], process.queue))
        process.end()
        last = Process(streams)
        last.ask("last")
        last.finish()
        last.end()
        check(streams, tokens)
        # The last swap is in force, whoever was killed on the way, and the next process says the same.
        assert log(streams)[-1][1] == ORDER[tokens[-1] if tokens else ""]
        assert [params["token"] for params in swapped(streams)][-1:] == tokens[-1:]


def test_after_a_kill_what_was_logged_since_the_snapshot_is_observed(streams):
    first = Process(streams)
    for i in range(3):
        first.ask(f"a{i}")
    first.finish()
    first.keep()
    for i in range(2):
        first.ask(f"b{i}")
    first.finish()
    first.ask("never written")
    first.end()
    second = Process(streams)
    second.ask("c")
    second.finish()
    second.end()
    assert [n for n, _ in log(streams)] == [1, 2, 3, 4, 5, 6]


def test_requests_of_another_gateway_are_not_observed(streams):
    one, other = Process(streams, name="one"), Process(streams, name="other")
    one.ask("a")
    one.finish()
    other.ask("b")
    other.finish()
    one.end()
    other.end()
    again = Process(streams, name="one")
    again.ask("c")
    again.finish()
    again.end()
    assert [n for n, _ in log(streams, "one")] == [1, 2]


def test_each_gateway_makes_its_own_cut(streams):
    one, other = Process(streams, name="one"), Process(streams, name="other")
    for process in (one, other):
        process.ask(process.name)
    control = swap_on_control(streams, "t1", "plug:Newer")
    for process in (one, other):
        process.extraction.offer(control)
        process.swap("t1")
        process.finish()
        process.ask(f"{process.name} after")
        process.finish()
        process.end()
    assert log(streams, "one") == log(streams, "other") == [(1, "old"), "t1", (2, "new")]
    assert [params["by"] for params in swapped(streams)] == ["one", "other"]


def test_a_plug_in_without_state_is_swapped_too_and_nothing_is_kept_before(streams):
    process = Process(streams, "plug:stateless")
    process.ask("a")
    process.finish()
    assert latest(streams, "features") is None
    process.extraction.offer(swap_on_control(streams, "t1", "plug:Newer"))
    process.swap("t1")
    process.finish()
    process.ask("b")
    process.finish()
    process.end()
    assert log(streams) == [(None, "stateless"), "t1", (1, "new")]


@pytest.mark.parametrize("writes", range(16))
def test_a_plug_in_without_state_killed_at_any_write_of_a_swap_is_swapped_by_the_next_start(streams, writes):
    process = Process(streams, "plug:stateless")
    process.ask("a")
    process.finish()
    process.extraction.offer(swap_on_control(streams, "t1", "plug:Newer"))
    process.swap("t1")
    for i in range(writes):
        process.ask(f"b{i}")
        process.write()
    process.end()
    second = Process(streams, "plug:stateless")
    second.ask("last")
    second.finish()
    second.end()
    found = log(streams)
    assert found.count("t1") == 1
    cut = found.index("t1")
    assert {by for _, by in found[:cut]} == {"stateless"}
    assert [n for n, _ in found[cut + 1 :]] == list(range(1, len(found) - cut))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("plug:CannotRestore", "cannot begin with that state: ValueError: another format"),
        ("json:nothing", "has no 'nothing'"),
    ],
)
def test_a_plug_in_that_cannot_take_over_is_refused_and_the_old_one_goes_on(streams, target, words):
    process = Process(streams)
    process.ask("a")
    process.extraction.offer(swap_on_control(streams, "t1", target))
    process.swap("t1")
    with pytest.raises(ServingError, match=words):
        process.finish()
    process.ask("b")
    while process.write():
        pass
    process.end()
    assert log(streams) == [(1, "old"), (2, "old")]
    assert swapped(streams) == []


def test_on_a_start_a_swap_that_cannot_be_is_passed_by_and_said(streams, capsys):
    swap_on_control(streams, "t1", "plug:Newer")
    swap_on_control(streams, "t2", "json:nothing")
    process = Process(streams)
    process.ask("a")
    process.finish()
    process.end()
    assert log(streams) == ["t1", (1, "new")]
    assert "features: swap 't2' is refused: 'json:nothing'" in capsys.readouterr().err


def test_a_gateway_that_comes_late_begins_with_what_control_says(streams):
    swap_on_control(streams, "t1", "plug:Newer")
    swap_on_control(streams, "t2", "plug:Newest")
    first = Process(streams)
    first.ask("a")
    first.finish()
    first.end()
    second = Process(streams)
    second.ask("b")
    second.finish()
    second.end()
    assert log(streams) == ["t2", (1, "newest"), (2, "newest")]
    assert [params["token"] for params in swapped(streams)] == ["t2"]


def test_a_plug_in_in_force_that_is_gone_stops_the_start(streams, monkeypatch):
    swap_on_control(streams, "t1", "plug:Newer")
    Process(streams).end()

    found = plugin.find_callable
    monkeypatch.setattr(plugin, "find_callable", lambda name: found("x:y" if name == "plug:Newer" else name))
    with pytest.raises(ServingError, match="in force cannot be loaded"):
        Process(streams)
    swap_on_control(streams, "t2", "plug:Newest")  # the way out
    last = Process(streams)
    last.ask("a")
    last.finish()
    last.end()
    assert log(streams) == ["t1", "t2", (1, "newest")]


def test_another_plug_in_on_the_command_line_begins_with_nothing_and_says_so(streams, capsys):
    first = Process(streams)
    first.ask("a")
    first.finish()
    first.end()
    second = Process(streams, "plug:Newer")
    second.ask("b")
    second.finish()
    second.end()
    assert log(streams) == [(1, "old"), (1, "new")]
    assert "plug:Newer begins with nothing, since plug:Counting served before it" in capsys.readouterr().err


def test_what_a_plug_in_gives_as_snapshot_may_change_afterwards(streams):
    process = Process(streams)
    given = {"n": 1}
    process.extraction._inject.snapshot = lambda: given
    process.keep()
    given["n"] = 2
    process.finish()
    process.end()
    assert latest(streams, "features", "g").state["state"] == {"n": 1}


def test_a_snapshot_that_json_cannot_say_is_an_error_that_names_the_plug_in(streams):
    with pytest.raises(ServingError, match="plug:CannotSnapshot gave no snapshot: TypeError"):
        Process(streams, "plug:CannotSnapshot")


def test_a_token_that_cannot_be_written_is_tried_again_and_what_belongs_after_it_waits(streams, monkeypatch, capsys):
    monkeypatch.setattr("birdwatch.serving.features.extraction._RETRY_SECONDS", 0.0)
    process = Process(streams)
    process.extraction.offer(swap_on_control(streams, "t1", "plug:Newer"))
    process.swap("t1")
    process.write()
    process.ask("a")
    failures = iter([StreamError("disk full"), StreamError("disk full")])
    broadcast = streams.broadcast

    def broken(*args):
        for error in failures:
            raise error
        broadcast(*args)

    streams.broadcast = broken
    process.finish()
    process.end()
    assert log(streams) == ["t1", (1, "new")]
    assert capsys.readouterr().err.count("the token 't1' is not written, trying again: disk full") == 2


@pytest.mark.parametrize("params", [{}, {"token": ""}, {"token": "t", "target": 3}, {"token": 3, "target": "a:b"}])
def test_a_swap_that_says_too_little_is_refused_in_words(streams, params):
    extraction = Extraction(streams, stateless, name="g")
    control = Control(ts=0, action="swap", author="ann", reason="?", params={"component": "features", **params})
    assert "swap of the features by ann" in extraction.offer(control)
    assert extraction._waiting.empty()


def test_swaps_of_others_are_passed_by(streams):
    extraction = Extraction(streams, stateless, name="g")
    for action, component in (("swap", "rendezvous"), ("swapped", "features"), ("champion", "features")):
        params = {"component": component, "token": "t", "target": "a:b"}
        assert extraction.offer(Control(ts=0, action=action, author="a", reason="?", params=params)) is None
    assert extraction._waiting.empty()


def test_a_snapshot_carries_where_it_was_taken(streams):
    process = Process(streams)
    process.ask("a")
    process.keep()
    process.ask("b")
    process.finish()
    process.end()
    kept = [decode(m.value, Snapshot) for m in streams.reader(["snapshots"]).poll(timeout=0.0)]
    assert [(each.by, each.component, each.positions, each.state["state"]) for each in kept] == [
        ("g", "features", {}, {"n": 0}),
        ("g", "features", {"requests/0": 1}, {"n": 1}),
    ]


class TwoPartitions:
    """Streams with two partitions each; a message lies in the one that the last byte of its key says."""

    address = "memory:"

    def __init__(self):
        self.logs = {}
        self.broadcasts_until = None

    def append(self, stream, messages):
        for key, value in messages:
            self._put(stream, (key or b"0")[-1] % 2, key, value)

    def broadcast(self, stream, key, value):
        for number in range(2):
            if self.broadcasts_until == number:
                raise KilledError
            self._put(stream, number, key, value)

    def _put(self, stream, number, key, value):
        for each in range(2):
            self.logs.setdefault(Partition(stream, each), [])
        log = self.logs[Partition(stream, number)]
        log.append(Message(stream, number, len(log), key, value))

    def ends(self, streams):
        return {partition: len(log) for partition, log in self.logs.items() if partition.stream in streams}

    def reader(self, streams, *, group=None, start="earliest"):
        return TwoReader(self, streams)


class TwoReader:
    """Gives the second partition before the first, so that nothing may rest on their order."""

    def __init__(self, place, streams):
        self._place = place
        self._at = {Partition(stream, number): 0 for stream in streams for number in (1, 0)}

    def poll(self, limit=1000, timeout=1.0):
        for partition, at in self._at.items():
            found = self._place.logs.get(partition, [])[at : at + 1]
            if found:
                self._at[partition] += 1
                return found
        return []

    def positions(self):
        return dict(self._at)

    def seek(self, positions):
        self._at |= {partition: offset for partition, offset in positions.items() if partition in self._at}

    def close(self):
        pass


def of_partition(streams, number):
    found = []
    for message in streams.logs[Partition("requests", number)]:
        token = as_token(message.value)
        features = None if token else decode(message.value, Request).features
        found.append(token.token if token else (features["n"], features["by"]))
    return found


def test_the_cut_goes_through_every_partition():
    streams = TwoPartitions()
    process = Process(streams)
    for i in range(4):
        process.ask(f"a{i}")
    process.extraction.offer(swap_on_control(streams, "t1", "plug:Newer"))
    process.swap("t1")
    process.finish()
    for i in range(4):
        process.ask(f"b{i}")
    process.finish()
    process.end()
    assert of_partition(streams, 0) == [(1, "old"), (3, "old"), "t1", (5, "new"), (7, "new")]
    assert of_partition(streams, 1) == [(2, "old"), (4, "old"), "t1", (6, "new"), (8, "new")]
    assert swapped(streams) == [{"component": "features", "token": "t1", "by": "g", "at": {"0": 2, "1": 2}}]


def test_killed_when_the_token_has_reached_one_partition_it_reaches_the_other_at_the_next_start():
    streams = TwoPartitions()
    process = Process(streams)
    for i in range(4):
        process.ask(f"a{i}")
    process.extraction.offer(swap_on_control(streams, "t1", "plug:Newer"))
    process.swap("t1")
    streams.broadcasts_until = 1
    with pytest.raises(KilledError):
        process.finish()
    process.end()
    assert "t1" in of_partition(streams, 0)
    assert "t1" not in of_partition(streams, 1)
    streams.broadcasts_until = None
    second = Process(streams)
    for i in range(4):
        second.ask(f"b{i}")
    second.finish()
    second.end()
    # The first token is the cut; the second one in the first partition follows it at once.
    assert of_partition(streams, 0) == [(1, "old"), (3, "old"), "t1", "t1", (5, "new"), (7, "new")]
    assert of_partition(streams, 1) == [(2, "old"), (4, "old"), "t1", (6, "new"), (8, "new")]
    assert [params["at"] for params in swapped(streams)] == [{"0": 2, "1": 2}]
    third = Process(streams)
    third.ask("last")
    third.finish()
    third.end()
    assert of_partition(streams, 0)[-1] == (9, "new")


def test_after_a_kill_the_requests_of_all_partitions_are_observed_in_the_order_of_their_receipt():
    streams = TwoPartitions()
    process = Process(streams)
    for i in range(6):
        process.ask(f"a{i}")
    process.finish()
    process.end()
    second = Process(streams)
    second.ask("b")
    second.finish()
    second.end()
    assert of_partition(streams, 0)[-1] == (7, "old")


def run_until(process, condition):
    process.begin(process.extraction.run(process.queue))
    for _ in range(200):
        process.tick()
        process.queue.write()
        if condition():
            return
    pytest.fail("it did not come about")


def test_a_swap_that_the_streams_do_not_take_is_put_off_until_they_do(streams, monkeypatch, capsys):
    monkeypatch.setattr("birdwatch.serving.features.extraction._RETRY_SECONDS", 0.0)
    process = Process(streams)
    append = streams.append
    failures = iter([StreamError("disk full"), StreamError("disk full")])

    def broken(stream, messages):
        for error in failures:
            raise error
        append(stream, messages)

    process.extraction.offer(swap_on_control(streams, "t1", "plug:Newer"))
    streams.append = broken
    run_until(process, lambda: swapped(streams))
    process.end()
    assert log(streams) == ["t1"]
    assert capsys.readouterr().err.count("features: swap 't1' is put off: disk full") == 2


def test_swaps_are_done_in_the_order_of_control_and_one_that_cannot_be_stops_none_after_it(streams, capsys):
    process = Process(streams)
    for token, target in (("t1", "plug:Newer"), ("t2", "plug:CannotRestore"), ("t3", "plug:Newest")):
        process.extraction.offer(swap_on_control(streams, token, target))
    run_until(process, lambda: len(swapped(streams)) == 2)
    process.end()
    assert log(streams) == ["t1", "t3"]
    assert "swap 't2' is refused: plug:CannotRestore cannot begin with that state" in capsys.readouterr().err


class CannotObserve(Counting):
    def observe(self, features, ts):
        raise KeyError("tail")


def test_a_plug_in_that_cannot_observe_what_it_injected_into_stops_the_start_by_name(streams):
    process = Process(streams, "plug:CannotObserve")
    process.ask("a")
    process.finish()
    process.end()
    with pytest.raises(ServingError, match=r"plug:CannotObserve cannot observe \{'x': 1.*KeyError: 'tail'"):
        Process(streams, "plug:CannotObserve")
