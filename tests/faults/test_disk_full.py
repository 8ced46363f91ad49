"""On a full disk nothing is deleted and nobody ends: it is said, and the work goes on when there is room."""

import random
import re
import signal
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
import yaml

from birdwatch.errors import DiskFullError, StoreError
from birdwatch.streams import open_streams
from birdwatch.windows.store import Store

from .ledger import Ledger
from .observing import RULES
from .processes import Processes, wait_for
from .small_disk import LocalTraffic, small_disk
from .table import chosen

pytestmark = [pytest.mark.integration, pytest.mark.faults]

ROUNDS = chosen(ci=2, nightly=5)


def asked(port: int, path: str) -> tuple[int, str]:
    """Ask a process how it is."""
    answer = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10)
    return answer.status_code, answer.text


def port_of(run: Processes, name: str) -> int:
    """Read where a process says that its health is served."""
    said = wait_for(lambda: [line for line in run.said(name).splitlines() if line.startswith("health on")])
    return int(said[0].rpartition(":")[2])


def test_a_log_on_a_full_disk_refuses_what_it_cannot_keep_and_loses_nothing(tmp_path, faults):
    chance, kept, refused, alive = random.Random(8), [], 0, []
    with small_disk(tmp_path / "disk", 16) as disk, closing(open_streams(f"sqlite:{disk.folder}/streams")) as streams:
        streams.append("requests", [(b"", b"first")])
        for turn in range(chosen(ci=5, nightly=20)):
            kept += [b"before %d-%d" % (turn, number) for number in range(200)]
            streams.append("requests", [(b"", value) for value in kept[-200:]])
            disk.fill()
            number, refusals = 0, 0
            while refusals < 3:
                value = b"%d-%d " % (turn, number) + chance.randbytes(chance.randrange(10, 20_000))
                try:
                    streams.append("requests", [(b"", value)])
                    kept.append(value)
                except DiskFullError as error:
                    refusals += 1
                    said = str(error)
                    assert f"{disk.folder}/streams/requests.db could not be written" in said
                    assert "kB are left. Nothing was deleted; make room" in said
                number += 1
            refused += refusals
            disk.make_room()
            begun = time.monotonic()
            streams.append("requests", [(b"", b"after %d" % turn)])
            alive.append(time.monotonic() - begun)
            kept.append(b"after %d" % turn)
        with closing(streams.reader(["requests"])) as reader:
            found = [message.value for message in reader.poll(100_000, timeout=0.0)][1:]
            assert reader.gaps() == []
    assert found == kept
    faults.survived(
        "disk full under the log",
        rounds=len(alive),
        ids=len(kept),
        lost=[],
        alive=alive,
        note=f"{refused} appends refused",
    )


def test_a_tail_on_a_full_disk_says_so_and_goes_on_when_there_is_room(tmp_path, faults):
    ledger, alive = Ledger(rate=100), []
    with (
        small_disk(tmp_path / "disk", 24) as disk,
        closing(open_streams(f"sqlite:{tmp_path}/streams")) as streams,
        Processes(tmp_path) as run,
    ):
        settings = {
            "streams": f"sqlite:{tmp_path}/streams",
            "store": f"{disk.folder}/store.db",
            "pane_seconds": 1,
            "lateness_seconds": 1,
            "scale": "real",
            "champion": "champion",
            "features": {"n": {}},
            "rules": "rules",
        }
        (tmp_path / "birdwatch.yaml").write_text(yaml.safe_dump(settings))
        (tmp_path / "rules").mkdir()
        (tmp_path / "rules" / "rules.yaml").write_text(RULES)

        def closed() -> int:
            try:
                with closing(Store(disk.folder / "store.db", readonly=True)) as store:
                    return (store.closed_range() or (0, 0))[1]
            except StoreError:
                return 0

        def times_full() -> int:
            return run.said("tail").count("\ntrying again: the disk is full")

        with LocalTraffic(streams, ledger):
            run.start("tail", "tail", "--health-port", "0")
            run.ready("tail")
            port = port_of(run, "tail")
            wait_for(closed, what=lambda: run.said("tail"))
            for turn in range(1, ROUNDS + 1):
                disk.fill()
                wait_for(lambda turn=turn: times_full() == turn, 120, lambda: run.said("tail"))
                _, reason = wait_for(lambda: (found := asked(port, "/readyz"))[0] == 503 and found)
                assert "the disk is full" in reason
                time.sleep(1)
                assert run.ended("tail") is None
                assert asked(port, "/healthz")[0] == 200
                disk.make_room()
                begun = time.time()
                wait_for(lambda begun=begun: closed() > begun, what=lambda: run.said("tail"))
                alive.append(time.time() - begun)
                assert wait_for(lambda: asked(port, "/readyz")[0] == 200)
            until = int(time.time())
            wait_for(lambda: closed() >= until, what=lambda: run.said("tail"))
        with closing(Store(disk.folder / "store.db", readonly=True)) as store:
            found = ledger.audit(store, until)
        assert times_full() == ROUNDS  # said once each time, and once that it is over
        assert run.said("tail").count("\nit is over: ") == ROUNDS
    assert found.strange == []
    faults.survived(
        "disk full under the store",
        rounds=ROUNDS,
        ids=found.ids,
        lost=found.lost,
        doubled=found.doubled,
        alive=alive,
        note="/readyz says so meanwhile",
    )


SCHEDULE = """
version: 1
deadline_seconds: 1
return_margin_seconds: 0.3
default: -1
tiers:
  - models: [m]
"""


def ask(port: int, name: str) -> tuple[int, dict[str, Any]]:
    """Ask the gateway for a score."""
    answer = httpx.post(f"http://127.0.0.1:{port}/v1/score", json={"id": name, "features": {"x": 7}}, timeout=10)
    return answer.status_code, answer.json() if answer.is_success else {}


def test_serving_on_a_full_disk_answers_in_time_and_scores_again_when_there_is_room(tmp_path, faults):
    alive, told, asked_for = [], Counter(), []
    with small_disk(tmp_path / "disk", 24) as disk, Processes(tmp_path) as run:
        (tmp_path / "schedule.yaml").write_text(SCHEDULE)
        (tmp_path / "models.py").write_text("def same(batch): return [row['x'] for row in batch]")
        place = ["--streams", f"sqlite:{disk.folder}/streams"]
        run.start("runner", "serve", "runner", "--model", "m", "--target", "models:same", *place)
        run.start("rendezvous", "serve", "rendezvous", "--schedule", "schedule.yaml", *place)
        run.start("gateway", "serve", "gateway", "--schedule", "schedule.yaml", "--port", "0", *place)
        for name in run.names():
            run.ready(name)
        port = int(re.findall(r"http://127\.0\.0\.1:(\d+)", run.said("gateway"))[0])

        def scored() -> bool:
            asked_for.append(f"r{len(asked_for)}")
            return ask(port, asked_for[-1])[1].get("score") == 7

        wait_for(scored)
        for _ in range(ROUNDS):
            disk.fill()
            for _ in range(5):
                begun = time.monotonic()
                asked_for.append(f"r{len(asked_for)}")
                status, said = ask(port, asked_for[-1])
                told[f"{status} {said.get('model', '')}".strip()] += 1
                assert time.monotonic() - begun < 3
            assert [name for name in run.names() if run.ended(name) is not None] == []
            disk.make_room()
            begun = time.monotonic()
            wait_for(scored, what=lambda: "\n".join(map(run.said, run.names())))
            alive.append(time.monotonic() - begun)
        assert [name for name in run.names() if run.ended(name) is not None] == []
        run.kill("rendezvous", signal.SIGTERM)
        with closing(open_streams(place[1])) as streams, closing(streams.reader(["requests", "results"])) as reader:
            found = {"requests": Counter(), "results": Counter()}
            while messages := reader.poll(timeout=0.0):
                for message in messages:
                    found[message.stream][message.key.decode()] += 1
    faults.survived(
        "disk full under serving's logs",
        rounds=ROUNDS,
        ids=len(found["requests"]),
        lost=found["requests"].keys() - found["results"].keys(),
        doubled=[name for name, times in found["results"].items() if times > 1],
        alive=alive,
        note=f"answers meanwhile: {', '.join(f'{times} × {said}' for said, times in told.items())}",
    )


def archived(folder: Path) -> list[str]:
    """Read the ids that lie in an archive, one for each row."""
    files = sorted(folder.rglob("*.parquet"))
    return [name for path in files for name in pq.read_table(path, partitioning=None).column("id").to_pylist()]


def test_a_decoy_on_a_full_disk_says_so_leaves_no_half_files_and_archives_all_of_it(tmp_path, faults):
    ledger, alive = Ledger(rate=100), []
    with (
        small_disk(tmp_path / "disk", 8) as disk,
        closing(open_streams(f"sqlite:{tmp_path}/streams")) as streams,
        Processes(tmp_path) as run,
    ):
        archive = disk.folder / "archive"
        with LocalTraffic(streams, ledger) as traffic:
            places = ["--streams", f"sqlite:{tmp_path}/streams", "--archive", str(archive)]
            run.start("decoy", "serve", "decoy", *places, "--flush-seconds", "0.3", "--health-port", "0")
            run.ready("decoy")
            port = port_of(run, "decoy")
            wait_for(lambda: archived(archive), what=lambda: run.said("decoy"))
            for turn in range(1, ROUNDS + 1):
                disk.fill()
                wait_for(lambda: asked(port, "/readyz")[0] == 503, what=lambda: run.said("decoy"))
                before = archived(archive)
                time.sleep(1)
                assert run.ended("decoy") is None
                assert f'birdwatch_decoy_troubles_total{{model=""}} {turn}.0' in asked(port, "/metrics")[1]
                assert archived(archive) == before
                assert not list(archive.rglob(".draft-*"))
                disk.make_room()
                begun = time.monotonic()
                wait_for(lambda before=before: len(archived(archive)) > len(before), what=lambda: run.said("decoy"))
                alive.append(time.monotonic() - begun)
        sent = {ledger.id_of(n) for n in range(traffic.ledger.acknowledged.shape[1]) if ledger.acknowledged[0, n]}
        wait_for(lambda: sent <= set(archived(archive)), what=lambda: run.said("decoy"))
        found = archived(archive)
        assert run.said("decoy").count("it is over") == ROUNDS
    faults.survived(
        "disk full under the archive",
        rounds=ROUNDS,
        ids=len(sent),
        lost=sent - set(found),
        doubled={name for name in found if found.count(name) > 1},
        alive=alive,
        note="/readyz says so meanwhile; no half file",
    )
