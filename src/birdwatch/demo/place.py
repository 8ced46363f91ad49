"""Where a run keeps what it makes: a folder that is the demo's own, used by one run at a time, and streams nobody else uses."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from birdwatch.errors import BirdwatchError
from birdwatch.records import RECORDS
from birdwatch.streams import open_streams
from birdwatch.streams.deadletters import DEADLETTERS

__all__ = ["claim", "require_unused"]

_MARK: Final = ".birdwatch-demo"
_KAFKA: Final = "kafka://"


@contextmanager
def claim(folder: Path) -> Iterator[Path]:
    """Take a folder for a run: empty, and ours until the context ends.

    What an earlier run left there is removed; only a folder that a run has marked as its own is ever emptied.

    Raises
    ------
    BirdwatchError
        The folder holds something else, or another demo runs there.
    """
    mark = folder / _MARK
    if folder.exists() and not folder.is_dir():
        raise BirdwatchError(f"{folder} is a file: give another --run-dir")
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise BirdwatchError(f"{folder} holds files that no demo has made: give another --run-dir")
    folder.mkdir(parents=True, exist_ok=True)
    with mark.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BirdwatchError(f"another demo runs in {folder}: stop it, or give another --run-dir") from error
        for path in folder.iterdir():
            if path == mark:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        yield folder


def require_unused(address: str) -> None:
    """See that no stream of a demo's is there yet: what lies on it would be mixed with the demo's, and somebody may need it.

    Raises
    ------
    BirdwatchError
        One is there, or the address is of no place.
    """
    with closing(open_streams(address)) as streams:
        used = sorted({*RECORDS, DEADLETTERS} & set(streams.names()))
    if not used:
        return
    servers, *_ = streams.address.removeprefix(_KAFKA).split("?")
    remove = f"kafka-topics.sh --bootstrap-server {servers} --delete --topic '{'|'.join(used)}'"
    raise BirdwatchError(
        f"{streams.address} has {', '.join(used)} already, and a demo mixes with nobody's streams: give another --streams"
        + (f"; or remove them, if nobody needs them: {remove}" if streams.address.startswith(_KAFKA) else "")
    )
