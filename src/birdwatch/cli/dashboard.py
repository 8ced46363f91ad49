"""``birdwatch dashboard``: run the Streamlit pages over a store, for this machine alone unless told otherwise."""

import errno
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from birdwatch.cli.options import SettingsFile, StoreFile
from birdwatch.config import load_settings
from birdwatch.content import content
from birdwatch.errors import BirdwatchError, SettingsError

__all__ = ["answers", "app", "free_port"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HERE: Final = "127.0.0.1"
_START_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 5.0


@app.command()
def dashboard(
    settings: SettingsFile = None,
    store: StoreFile = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; beware, the pages ask nobody who they are.")
    ] = _HERE,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="The port to listen on; if it is taken, a later one.")
    ] = 8501,
    page: Annotated[
        Path | None, typer.Option("--app", help="Your own pages, such as dashboards/app.py from `birdwatch init`.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Don't open a browser.")] = False,
) -> None:
    """Open the dashboard over a store. It reads the store alone, so it may be started and stopped at any time."""
    from importlib.util import find_spec  # noqa: PLC0415 - help should not wait for what only the work needs

    if find_spec("streamlit") is None:
        raise BirdwatchError("the dashboard needs Streamlit: pip install 'birdwatch[dashboard]'")
    shown = load_settings(settings, store=store).store.absolute()
    script = page or content("dashboards") / "app.py"
    if not script.is_file():
        raise SettingsError(f"there is no {script}: give --app a Streamlit script")
    chosen = free_port(port, host=host)
    if chosen != port:
        typer.echo(f"port {port} is taken, using {chosen}")
    raise typer.Exit(_run(script, shown, host, chosen, browser=not no_browser))


def free_port(wanted: int, most: int = 100, host: str = _HERE) -> int:
    """Give the first port from ``wanted`` on that nobody listens on.

    Raises
    ------
    BirdwatchError
        ``most`` ports in a row are taken, or the host is not this machine.
    """
    for port in range(wanted, min(wanted + most, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                    raise BirdwatchError(f"--host {host} is no address of this machine: {error.strerror}") from error
                continue
            return port
    raise BirdwatchError(f"ports {wanted} to {wanted + most - 1} are taken: give --port another")


def _run(script: Path, store: Path, host: str, port: int, *, browser: bool) -> int:
    """Run Streamlit until it ends or we are asked to; give its exit code."""
    import signal  # noqa: PLC0415
    import webbrowser  # noqa: PLC0415

    options = {
        "server.address": host,
        "server.port": str(port),
        "server.headless": "true",
        "browser.gatherUsageStats": "false",
    }
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    command += [part for name, value in options.items() for part in (f"--{name}", value)]
    # Streamlit's own lines go to standard error: ours are the ones to read.
    process = subprocess.Popen(  # noqa: S603 - the script is the user's or ours
        command, env={**os.environ, "BIRDWATCH_STORE": str(store)}, stdout=sys.stderr.fileno()
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.terminate())
    if _listens(process, host, port):
        url = f"http://{host}:{port}"
        typer.echo(f"listening on {url}\nready")
        if browser:
            webbrowser.open(url)
    code = process.wait()
    return 0 if code == -signal.SIGTERM else code


def _listens(process: "subprocess.Popen[bytes]", host: str, port: int) -> bool:
    """Wait until Streamlit listens; False when it ended instead."""
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None:
        if answers(host, port):
            return True
        if time.monotonic() > until:
            process.kill()
            raise BirdwatchError(f"Streamlit did not listen on port {port} within {_START_SECONDS:.0f} s")
        time.sleep(0.05)
    return False


def answers(host: str, port: int) -> bool:
    """Say whether a web server answers at an address.

    That a connection opens does not show it: where nobody listens, the system may give the caller that very port to
    call from, and the connection is then one to itself (a simultaneous open, RFC 9293, section 3.5).
    """
    import http.client  # noqa: PLC0415

    asked = http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
    try:
        asked.request("GET", "/_stcore/health")
        asked.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()
    return True
