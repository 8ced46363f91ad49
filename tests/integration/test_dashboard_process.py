"""`birdwatch dashboard` serves its pages on this machine alone, and goes when it is told to."""

import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from birdwatch.windows.store import Store

pytestmark = pytest.mark.integration


def test_serves_the_pages_of_its_store_on_another_port_when_one_is_taken(tmp_path):
    Store(tmp_path / "birdwatch.db", pane_seconds=60).close()
    page = tmp_path / "page.py"
    page.write_text("import os, pathlib\npathlib.Path('shown').write_text(os.environ['BIRDWATCH_STORE'])\n")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "birdwatch", "dashboard", "--no-browser", "--port", str(taken), "--app", str(page)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            said = [process.stdout.readline() for _ in range(3)]
            port = int(said[1].rpartition(":")[2])
            assert said == [
                f"port {taken} is taken, using {port}\n",
                f"listening on http://127.0.0.1:{port}\n",
                "ready\n",
            ]
            with httpx.Client(trust_env=False) as client:
                assert client.get(f"http://127.0.0.1:{port}/_stcore/health").text == "ok"
                assert "Streamlit" in client.get(f"http://127.0.0.1:{port}/").text
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", port)) != 0
        finally:
            process.kill()
            process.communicate(timeout=30)
