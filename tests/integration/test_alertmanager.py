"""Alerts reach the real Alertmanager, and are there again when it has forgotten everything."""

import json
import shutil
import subprocess
import threading

import httpx
import msgspec
import pytest
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner
from werkzeug import Response

from birdwatch.alerts.delivery import deliver
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.sinks import Alertmanager
from birdwatch.alerts.sinks.webhook import body
from birdwatch.alerts.wording import Links
from birdwatch.cli.alerts import app
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.windows.store import Store

from .waiting import free_port, until

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(PROGRAM is None, reason="Alertmanager is not there: apt-get install prometheus-alertmanager"),
]

LINKS = Links("https://watch.test", "https://wiki.test/{rule}")


class Server:
    """An Alertmanager that passes on to `receiver` what it was told, by rule."""

    def __init__(self, folder, receiver):
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process = None
        folder.mkdir()
        routes = {"receiver": "hook", "group_by": ["alertname"], "group_wait": "1s", "group_interval": "1s"}
        hook = {"name": "hook", "webhook_configs": [{"url": receiver, "send_resolved": True}]}
        (folder / "alertmanager.yml").write_text(json.dumps({"route": routes, "receivers": [hook]}))

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    PROGRAM,
                    f"--config.file={self.folder / 'alertmanager.yml'}",
                    f"--storage.path={self.folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                    "--cluster.listen-address=",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(self.is_ready)
        return self

    def is_ready(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def alerts(self):
        """Give what it holds that fires."""
        return httpx.get(f"{self.url}/api/v2/alerts", params={"active": "true"}, trust_env=False).json()

    def models(self):
        return sorted(alert["labels"].get("model", "") for alert in self.alerts())

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)

    def forget(self):
        shutil.rmtree(self.folder / "data")


@pytest.fixture
def told():
    """What Alertmanager has passed on, message by message."""
    return []


@pytest.fixture
def server(tmp_path, told, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    made = []

    def take(request):
        told.append(request.json)
        return Response(status=200)

    with HTTPServer(threaded=True) as receiver:
        receiver.expect_request("/").respond_with_handler(take)

        def make():
            made.append(Server(tmp_path / f"alertmanager{len(made)}", receiver.url_for("/")))
            return made[-1]

        yield make
        for one in made:
            one.kill()


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    yield store
    store.close()


@pytest.fixture
def delivering(store):
    """Deliver in a thread; what stands is said again sooner than in earnest."""
    stop, threads = threading.Event(), []

    def start(*servers, every=60.0):
        sink = Alertmanager([one.url for one in servers], links=LINKS)
        sink.repeat_seconds = every
        threads.append(
            threading.Thread(
                target=deliver, args=(store.path, {"pages": sink}, stop), kwargs={"poll_seconds": 0.05}, daemon=True
            )
        )
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join(60)


def raise_alert(store, ts, *, model="m", rule="shift", over=False):
    found = Finding(
        rule=rule,
        subject=Subject(model, "2"),
        ts=ts,
        severity="page",
        attribution="the model changed",
        active=not over,
        over=over,
        reason="retired" if over else "moved",
    )
    return advance(store, [found], sinks=["pages"])


def test_alerts_arrive_are_grouped_and_resolve(server, store, delivering, told):
    one = server().start()
    delivering(one)
    for model in "ab":
        raise_alert(store, 60, model=model)
    raise_alert(store, 60, rule="silence")
    until(lambda: one.models() == ["a", "b", "m"])
    (alert,) = [alert for alert in one.alerts() if alert["labels"]["alertname"] == "silence"]
    assert alert["labels"] == {
        "alertname": "silence",
        "severity": "page",
        "model": "m",
        "version": "2",
        "attribution": "the model changed",
    }
    assert alert["annotations"]["description"] == "moved"
    assert alert["annotations"]["runbook_url"] == "https://wiki.test/silence"
    assert alert["startsAt"] == "1970-01-01T00:01:00.000Z"
    assert alert["generatorURL"].startswith("https://watch.test/alerts?range=custom")
    until(lambda: {len(message["alerts"]) for message in told if message["status"] == "firing"} >= {1, 2})
    assert {message["groupLabels"]["alertname"] for message in told} == {"shift", "silence"}
    for model in "ab":
        raise_alert(store, 120, model=model, over=True)
    until(lambda: any(message["status"] == "resolved" for message in told))
    until(lambda: one.models() == ["m"])
    over = [alert for message in told if message["status"] == "resolved" for alert in message["alerts"]]
    assert {alert["endsAt"] for alert in over if alert["status"] == "resolved"} == {"1970-01-01T00:02:00Z"}


def test_what_stands_is_there_again_after_alertmanager_lost_its_memory(server, store, delivering):
    one = server().start()
    delivering(one, every=0.5)
    for model in "ab":
        raise_alert(store, 60, model=model)
    until(lambda: one.models() == ["a", "b"])
    one.kill()
    one.forget()
    raise_alert(store, 120, model="a", over=True)
    raise_alert(store, 120, model="c")
    one.start()
    until(lambda: one.models() == ["b", "c"])


def test_one_instance_is_enough_and_the_other_hears_it_when_it_is_back(server, store, delivering):
    down, well = server(), server().start()
    delivering(down, well, every=0.5)
    raise_alert(store, 60)
    until(lambda: well.models() == ["m"])
    until(lambda: store.connection.execute("SELECT count(*) FROM outbox WHERE delivered > 0").fetchone() == (1,))
    down.start()
    until(lambda: down.models() == ["m"])
    raise_alert(store, 120, over=True)
    until(lambda: down.models() == well.models() == [])


def test_our_webhook_has_the_body_that_alertmanager_sends(server, store, delivering, told):
    delivering(server().start())
    (alert,) = raise_alert(store, 60)
    until(lambda: told)
    raise_alert(store, 120, over=True)
    until(lambda: told[-1]["status"] == "resolved")
    resolved = msgspec.structs.replace(alert, state="resolved", ts=120.0)
    for theirs, ours in ((told[0], body(alert, "hook", LINKS)), (told[-1], body(resolved, "hook", LINKS))):
        assert theirs.keys() == ours.keys()
        assert theirs["alerts"][0].keys() == ours["alerts"][0].keys()
        for name in ("version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels"):
            assert theirs[name] == ours[name]
        for name in ("status", "labels", "generatorURL"):
            assert theirs["alerts"][0][name] == ours["alerts"][0][name]
        for name in ("startsAt", "endsAt"):
            if theirs["status"] == "resolved" or name == "startsAt":
                assert theirs["alerts"][0][name].replace("Z", ".000Z") == ours["alerts"][0][name]
            else:
                assert theirs["alerts"][0][name] == ours["alerts"][0][name]


def test_a_test_alert_arrives(server, tmp_path, monkeypatch):
    one = server()
    settings = tmp_path / "birdwatch.yaml"
    settings.write_text(f"sinks: {{pages: {{kind: alertmanager, urls: ['{one.url}']}}}}")
    said = CliRunner().invoke(app, ["test", "pages", "--settings", str(settings)])
    assert said.exit_code == 1
    assert said.stdout.startswith("pages did not take the test alert: none of 1 instances took it: cannot be reached")
    one.start()
    said = CliRunner().invoke(app, ["test", "pages", "--settings", str(settings)])
    assert said.exit_code == 0
    (alert,) = one.alerts()
    assert alert["labels"] == {"alertname": "test", "severity": "info", "attribution": "this is a test"}


def test_the_configuration_that_containers_are_given_is_one(root):
    amtool = shutil.which("amtool")
    checked = subprocess.run(
        [amtool, "check-config", root / "containers/alertmanager.yml"], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert "1 receivers" in checked.stdout
