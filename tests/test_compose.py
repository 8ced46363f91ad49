"""What `docker compose up` would start is read here as strictly as can be without an engine."""

import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from birdwatch.cli.main import app
from birdwatch.config import load_settings
from birdwatch.records import STREAMS
from birdwatch.serving.control.schedule import load_schedule
from birdwatch.streams.kafka_address import KafkaAddress

ROOT = Path(__file__).parents[1]


class Strict(yaml.SafeLoader):
    """YAML in which a name stands once."""

    def construct_mapping(self, node, deep=False):
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        assert len(names) == len(set(names)), f"{names} at {node.start_mark}"
        return super().construct_mapping(node, deep=deep)


COMPOSE = yaml.load((ROOT / "compose.yaml").read_text(), Loader=Strict)  # noqa: S506 - safer than SafeLoader
SERVICES = COMPOSE["services"]
PARTS = {name: service for name, service in SERVICES.items() if service["image"].startswith("localhost/birdwatch:")}


def parsed(command):
    """Read a command line as `birdwatch` would, up to where it would begin to work."""
    found = typer.main.get_command(app)
    context = found.make_context("birdwatch", list(command))
    while hasattr(found, "resolve_command"):
        name, found, rest = found.resolve_command(context, [*context._protected_args, *context.args])
        context = found.make_context(name, rest, parent=context)
    return context.command_path.removeprefix("birdwatch "), context.params


def mounts(service):
    """Give where things are mounted: what, or the named volume."""
    return {line.split(":")[1]: line.split(":")[0] for line in service.get("volumes", [])}


def outside(service, inside):
    """Find the file that a service sees under a path."""
    (place,) = [place for place in mounts(service) if Path(inside).is_relative_to(place)]
    return ROOT / mounts(service)[place] / Path(inside).relative_to(place)


def test_every_part_of_the_pipeline_is_there():
    started = [parsed(service["command"])[0] for service in PARTS.values()]
    assert sorted(started) == sorted(
        (
            *("serve gateway", "serve rendezvous", "serve decoy", "serve guard", *4 * ["serve runner"]),
            *("archive write", "tail", "alerts deliver", "gate", "dashboard"),
        )
    )
    assert set(SERVICES) - set(PARTS) == {"kafka", "topics", "alertmanager"}


def test_the_models_of_the_schedule_run_and_the_canary_is_one_of_its_own():
    runners = [
        params for command, params in map(parsed, (s["command"] for s in PARTS.values())) if command == "serve runner"
    ]
    schedule = load_schedule(ROOT / "containers/schedule.yaml")
    assert set(schedule.models) <= {params["model"] for params in runners if params["role"] == "model"}
    assert list(schedule.canary) == [params["model"] for params in runners if params["role"] == "canary"]


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_given_what_it_names(name):
    service = PARTS[name]
    _, params = parsed(service["command"])
    if "schedule" in params:
        load_schedule(outside(service, params["schedule"]))
    if params.get("settings"):
        assert mounts(service)[str(load_settings(outside(service, params["settings"])).store.parent)] == "data"
    for folder in {"archive", "to"} & set(params):
        assert mounts(service)[str(params[folder].parent)] == "data"
    if "target" in params:
        module, function = params["target"].split(":")
        (score,) = runpy.run_path(str(outside(service, f"/models/{module}.py")))[function](
            [{"amount": 950, "hour": 23}]
        )
        assert 0 < score < 1
    for source in mounts(service).values():
        assert source in COMPOSE["volumes"] or (ROOT / source).exists()


@pytest.mark.parametrize("name", PARTS)
def test_a_part_has_no_rights_and_nothing_to_write_but_its_scratch_and_data(name):
    service = PARTS[name]
    (user,) = re.findall(r"^USER (.*)$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    assert (service["user"], service["read_only"], service["tmpfs"]) == (user, True, ["/tmp"])  # noqa: S108
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert [line for line in service.get("volumes", []) if not line.endswith(":ro")] in ([], ["data:/data"])


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_asked_for_its_health_where_it_answers(name):
    service = PARTS[name]
    command, params = parsed(service["command"])
    said = (ROOT / "Containerfile").read_text()
    (usual,) = re.findall(r"HEALTH_URL=(\S+)", said)
    (check,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (.*)$", said, re.MULTILINE)
    assert "HEALTH_URL" in json.loads(check)[-1]
    if "healthcheck" in service:
        assert service["healthcheck"]["test"][:2] == ["CMD", "birdwatch"]
        _, asked = parsed(service["healthcheck"]["test"][2:])
        assert asked["settings"] == params["settings"]
    elif command == "dashboard":
        assert service["environment"]["HEALTH_URL"] == f"http://127.0.0.1:{params['port']}/_stcore/health"
    else:
        port = params["port"] if command in {"serve gateway", "gate"} else params["health_port"]
        assert usual == f"http://127.0.0.1:{port}/healthz"


@pytest.mark.parametrize("name", PARTS)
def test_a_part_starts_after_those_it_needs_are_well(name):
    for needed, how in PARTS[name]["depends_on"].items():
        assert how == {"condition": "service_completed_successfully" if needed == "topics" else "service_healthy"}
        assert needed in {*PARTS, "topics"}
    assert "healthcheck" in SERVICES["kafka"]


def test_the_topics_are_there_before_anybody_reads_them():
    said = SERVICES["topics"]["command"][-1]
    (topics,) = re.findall("for topic in (.*); do", said)
    assert topics.split() == list(STREAMS)
    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert SERVICES["topics"]["image"] == SERVICES["kafka"]["image"]


def test_all_meet_on_the_kafka_that_is_started():
    (address,) = {service["environment"]["BIRDWATCH_STREAMS"] for service in PARTS.values()}
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"PLAINTEXT://{KafkaAddress.parse(address).servers}" == advertised
    pom = (ROOT / "tests/integration/kafka/pom.xml").read_text()
    (tested,) = re.findall(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>(.*)</version>", pom)
    assert SERVICES["kafka"]["image"].endswith(f"/kafka:{tested}")


def test_alerts_reach_the_alertmanager_that_is_started():
    service = SERVICES["alertmanager"]
    assert "profiles" not in service
    (sink,) = load_settings(ROOT / "containers/birdwatch.yaml").sinks.values()
    assert [url.get_secret_value() for url in sink.urls] == ["http://alertmanager:9093"]
    assert service["ports"] == ["127.0.0.1:9093:9093"]
    assert f"--config.file={next(place for place in mounts(service) if place.endswith('.yml'))}" in service["command"]


def test_only_this_machine_reaches_the_ports():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_image_bears_the_version_of_the_project():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'org.opencontainers.image.version="{version}"' in (ROOT / "Containerfile").read_text()
    assert {service["image"] for service in PARTS.values()} == {f"localhost/birdwatch:{version}"}


def test_what_the_image_is_built_from_is_not_ignored():
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    let_in = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    assert {name for line in copied for name in line.split()} == let_in
    assert all((ROOT / name).exists() for name in let_in)
