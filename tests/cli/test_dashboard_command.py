"""`birdwatch dashboard` finds a port and says what is missing."""

import importlib.util
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler

import pytest
from typer.testing import CliRunner

from birdwatch.cli.dashboard import answers, app, free_port
from birdwatch.errors import BirdwatchError, SettingsError


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_is_taken_as_wanted(taken):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    assert free_port(free) == free


def test_a_taken_port_is_passed_over(taken):
    assert taken < free_port(taken) <= taken + 99


def test_a_search_that_finds_no_port_says_so(taken):
    with pytest.raises(BirdwatchError, match=f"ports {taken} to {taken} are taken: give --port another"):
        free_port(taken, most=1)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_refused(host):
    with pytest.raises(BirdwatchError, match=f"--host {host} is no address of this machine: "):
        free_port(8501, host=host)


def test_pages_that_are_not_there_are_named(tmp_path):
    with pytest.raises(SettingsError, match=r"there is no .*mine\.py: give --app"):
        CliRunner().invoke(app, ["--app", str(tmp_path / "mine.py")], catch_exceptions=False)


def test_without_streamlit_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(BirdwatchError, match=r"pip install 'birdwatch\[dashboard\]'"):
        CliRunner().invoke(app, [], catch_exceptions=False)


class Repeats(socketserver.BaseRequestHandler):
    """Sends back what it is sent, as a connection to oneself does."""

    def handle(self):
        self.request.sendall(self.request.recv(4096))


class Refuses(BaseHTTPRequestHandler):
    """A web server that has no such page."""

    def do_GET(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def served(request):
    with socketserver.TCPServer(("127.0.0.1", 0), request.param) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("served", "answered"), [(Refuses, True), (Repeats, False)], indirect=["served"])
def test_only_a_web_server_counts_as_listening(served, answered):
    assert answers("127.0.0.1", served) is answered


def test_where_nobody_listens_nobody_answers():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert not answers("127.0.0.1", bound.getsockname()[1])
