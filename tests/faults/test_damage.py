"""Bits are flipped and files cut short under a log, a store and an archive; the tail and the decoy tell, and read the rest."""

import random
import shutil
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from birdwatch.archive.verify import put_aside, verify
from birdwatch.archive.writer import ArchiveWriter
from birdwatch.cli.main import app
from birdwatch.errors import StoreError, StreamError
from birdwatch.serving.decoy import Decoy
from birdwatch.streams import open_streams
from birdwatch.streams.salvage import mend
from birdwatch.windows.store import Store

from .ledger import Ledger
from .observing import RULES
from .table import chosen

pytestmark = [pytest.mark.integration, pytest.mark.faults]

START = 1_370_563_200.0  # 7 June 2013, 00:00 UTC
REQUESTS = 600
ROUNDS = chosen(ci=12, nightly=200)


@pytest.fixture
def ledger(tmp_path):
    """A minute of traffic, in sqlite streams in the folder ``whole``."""
    made = Ledger(rate=100, start=START)
    with closing(open_streams(f"sqlite:{tmp_path}/whole/streams")) as streams:
        for n in range(REQUESTS):
            for part, (stream, value) in enumerate(made.messages(n)):
                streams.append(stream, [(made.id_of(n).encode(), value)])
                made.acknowledge(part, n)
    return made


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with settings, in which streams and stores are broken."""
    folder = tmp_path / "broken"
    folder.mkdir()
    monkeypatch.chdir(folder)
    settings = {
        "streams": "sqlite:streams",
        "store": "store.db",
        "pane_seconds": 1,
        "lateness_seconds": 1,
        "scale": "real",
        "champion": "champion",
        "features": {"n": {}},
        "rules": "rules",
    }
    (folder / "birdwatch.yaml").write_text(yaml.safe_dump(settings))
    (folder / "rules").mkdir()
    (folder / "rules" / "rules.yaml").write_text(RULES)
    return folder


def restore(tmp_path, what):
    shutil.rmtree(tmp_path / "broken" / what, ignore_errors=True)
    for path in (tmp_path / "broken").glob("store.db*"):
        path.unlink()
    shutil.copytree(tmp_path / "whole" / what, tmp_path / "broken" / what)


def damage(path, chance):
    """Flip a bit of a file or, one time in four, cut it short."""
    content = bytearray(path.read_bytes())
    if chance.random() < 0.25:
        del content[chance.randrange(len(content)) :]
    else:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def counted(store, ledger):
    """Give the ids that each ledger in a store has, and refuse any that is there twice or is nobody's."""
    found = ledger.audit(store, int(START) + REQUESTS // ledger.rate)
    assert (found.doubled, found.strange) == ([], [])
    return set(found.lost)


def test_a_damaged_log_costs_the_messages_that_are_named_and_no_other(tmp_path, place, ledger, faults):
    chance, named, unnamed, mended, ids = random.Random(91), 0, [], 0, 0
    for _ in range(ROUNDS):
        restore(tmp_path, "streams")
        stream = chance.choice(["requests", "scores", "canary", "metrics"])
        path = place / "streams" / f"{stream}.db"
        damage(path, chance)
        with closing(open_streams("sqlite:streams")) as streams:
            try:
                gaps, found = read(streams, stream)
            except StreamError as error:
                if f"birdwatch streams mend --streams sqlite:streams {stream}" not in str(error):
                    raise
                streams.close()
                mend(path)
                mended += 1
                gaps, found = read(streams, stream)
        with closing(open_streams(f"sqlite:{tmp_path}/whole/streams")) as streams:
            _, whole = read(streams, stream)
        assert found.items() <= whole.items()
        # What was at the end of a file that was cut short is gone; mending says how many messages are left.
        behind = (
            {at for at in whole if at > max(found, default=-1)}
            if path.with_name(f"{path.name}.damaged-1").exists()
            else set()
        )
        unnamed += sorted(whole.keys() - found.keys() - gaps - behind)
        result = CliRunner().invoke(app, ["tail", "--until-end"])
        assert result.exit_code == 0, result.output
        with closing(Store("store.db", readonly=True)) as store:
            lost = counted(store, ledger)
        gone = whole.keys() - found.keys()
        names = {whole[at][0].decode() for at in gone}
        assert {entry.split()[0] for entry in lost} <= names
        assert bool(lost) == bool(gone)
        named += len(gone)
        ids += len(whole)
    faults.survived(
        "bits flipped, files cut short: log",
        rounds=ROUNDS,
        ids=ids,
        lost=unnamed,
        note=f"{named} messages damaged, each named; {mended} logs mended",
    )


def read(streams, stream):
    """Read one stream to its end: offsets that are said to be damaged, and messages by offset."""
    gaps, found = set(), {}
    with closing(streams.reader([stream])) as reader:
        while True:
            messages, lost = reader.poll(1000, timeout=0.0), reader.gaps()
            gaps |= {at for gap in lost for at in range(gap.wanted, gap.found)}
            found |= {message.offset: (message.key, message.value) for message in messages}
            if not messages and not lost:
                return gaps, found


def test_a_damaged_store_leaves_out_what_is_damaged_or_is_refused_and_can_be_counted_anew(
    tmp_path, place, ledger, faults
):
    restore(tmp_path, "streams")
    assert CliRunner().invoke(app, ["tail", "--until-end"]).exit_code == 0
    with closing(Store("store.db")) as store:
        assert counted(store, ledger) == set()
        written = store.digest()
    shutil.copy("store.db", "whole.db")
    chance, refused, left_out, wrong, anew = random.Random(92), 0, 0, [], []
    for turn in range(ROUNDS):
        for path in Path().glob("store.db*"):
            path.unlink()
        shutil.copy("whole.db", "store.db")
        damage(Path("store.db"), chance)
        result = CliRunner().invoke(app, ["tail", "--until-end"])
        if isinstance(result.exception, StoreError):
            assert "store.db" in str(result.exception)
            refused += 1
            if len(anew) < 2:  # do what it says
                Path("store.db").rename(f"store.db.damaged-{turn}")
                for path in Path().glob("store.db-*"):
                    path.unlink()
                assert CliRunner().invoke(app, ["tail", "--until-end"]).exit_code == 0
                with closing(Store("store.db", readonly=True)) as store:
                    anew.append(store.digest() == written)
            continue
        assert result.exit_code == 0, result.output
        with closing(Store("store.db")) as store:
            found = store.digest()
            with store.transaction():
                pass
            wrong += sorted(map(str, found.items() - written.items()))
            assert store.damaged() == len(written) - len(found)
            left_out += len(written) - len(found)
    assert all(anew)
    faults.survived(
        "bits flipped, files cut short: store",
        rounds=ROUNDS,
        ids=ROUNDS * len(written),
        lost=wrong,
        note=f"{left_out} rows of panes put aside; {refused} stores refused, and counted anew where that was tried",
    )


def test_a_damaged_archive_is_found_put_aside_and_archived_again(tmp_path, place, ledger, faults):
    restore(tmp_path, "streams")
    chance, archive, found_at_start = random.Random(93), place / "archive", 0
    with closing(open_streams("sqlite:streams")) as streams:

        def run():
            with closing(Decoy(streams, archive, flush_count=100)) as decoy:
                before = len(list(archive.rglob("*.damaged*")))
                for _ in range(10):
                    decoy.step(0.0)
                decoy.flush()
                return before

        run()
        wanted = [ledger.id_of(n) for n in range(REQUESTS)]
        assert archived(archive) == wanted
        for turn in range(ROUNDS):
            path = chance.choice(sorted(archive.rglob("*.parquet")))
            damage(path, chance)
            before = len(list(archive.rglob("*.damaged*")))
            if chance.random() < 0.5:
                [finding] = verify(archive)
                assert finding.path == path
                put_aside(path)
            found_at_start += run() > before
            for finding in verify(archive):
                assert finding.path == path
                put_aside(path)
                run()
            assert list(verify(archive)) == []
            assert len(list(archive.rglob("*.damaged*"))) == turn + 1
        found = archived(archive)
        assert ArchiveWriter(archive, "requests").missing() == []
    faults.survived(
        "bits flipped, files cut short: archive",
        rounds=ROUNDS,
        ids=REQUESTS,
        lost=set(wanted) - set(found),
        doubled=[name for name in set(found) if found.count(name) > 1],
        note=f"{ROUNDS} files put aside, {found_at_start} of them at the decoy's start; all archived again from the log",
    )


def archived(folder):
    """Read the ids that lie in an archive, by offset; one for each row."""
    rows = [
        row
        for path in sorted(folder.rglob("*.parquet"))
        for row in pq.read_table(path, partitioning=None, columns=["offset", "id"]).to_pylist()
    ]
    return [row["id"] for row in sorted(rows, key=lambda row: row["offset"])]
