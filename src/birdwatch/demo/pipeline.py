"""The processes of the demo: the same commands that anybody would start for a pipeline of their own."""

from typing import Final

import httpx

from birdwatch.demo import story
from birdwatch.demo.models import MODELS
from birdwatch.demo.prepare import Layout
from birdwatch.demo.supervisor import Command, Supervisor
from birdwatch.errors import BirdwatchError

__all__ = ["PIPELINE", "dashboard_address", "serves", "start_dashboard", "start_pipeline"]

DASHBOARD: Final = "dashboard"
_DASHBOARD_PORT: Final = 8501
PIPELINE: Final = (
    "gateway",
    *(f"runner-{model}" for model in MODELS),
    "decoy",
    "rendezvous",
    "guard",
    "tail",
    "alerts",
)
"""All that serves and observes, by the name of its log."""

_LISTENS: Final = "listening on "
_HEALTH: Final = "health on "


def start_pipeline(supervisor: Supervisor, layout: Layout) -> str:
    """Start all that serves and observes; give the gateway's address when everything is ready."""
    at = ["--streams", layout.streams]
    plug_in = ["--features", "birdwatch.demo.weather:inject", "--features-config", str(layout.weather)]
    serve = {
        "gateway": ["gateway", *at, "--schedule", str(layout.schedule), "--port", "0", *plug_in],
        "decoy": ["decoy", *at, "--archive", str(layout.archive)],
        "rendezvous": ["rendezvous", *at, "--schedule", str(layout.schedule)],
        "guard": ["guard", *at],
    }
    for model in MODELS:
        role = ["--role", "canary"] if model == story.CANARY else []
        artifact = ["--target", story.LOAD, "--artifact", str(layout.model(model))]
        health = ["--health-port", "0"] if model == story.CHALLENGER else []
        serve[f"runner-{model}"] = ["runner", *at, "--model", model, "--version", "1", *artifact, *role, *health]
    commands = [Command(name, ["serve", *rest], vital=name == "gateway") for name, rest in serve.items()]
    commands.append(Command("tail", ["tail", "--settings", str(layout.settings)]))
    for command in commands:
        supervisor.start(command)
    # The tail makes the store that alerts are delivered from.
    supervisor.wait("tail")
    supervisor.start(Command("alerts", ["alerts", "deliver", "--settings", str(layout.settings)], ready="delivering"))
    supervisor.wait(*PIPELINE)
    return _address(supervisor, "gateway")


def serves(supervisor: Supervisor, model: str, version: str) -> bool:
    """Tell whether the runner of a model has loaded a version; it must have been asked to say how it is."""
    supervisor.check()
    address = supervisor.said(f"runner-{model}", _HEALTH)
    if address is None:
        return False
    try:
        shown = httpx.get(f"{address.removeprefix(_HEALTH)}/metrics").text
    except httpx.HTTPError:
        return False  # it may be starting again
    return any(
        line.startswith("birdwatch_runner_version_info{") and f'version="{version}"' in line
        for line in shown.splitlines()
    )


def start_dashboard(supervisor: Supervisor, layout: Layout) -> None:
    """Start the dashboard; `dashboard_address` waits for it."""
    arguments = ["dashboard", "--store", str(layout.store), "--port", str(_DASHBOARD_PORT), "--no-browser"]
    supervisor.start(Command(DASHBOARD, arguments))


def dashboard_address(supervisor: Supervisor) -> tuple[str, str | None]:
    """Give where the dashboard is, and what it has to say about the port it should have taken."""
    supervisor.wait(DASHBOARD)
    return _address(supervisor, DASHBOARD), supervisor.said(DASHBOARD, "port ")


def _address(supervisor: Supervisor, name: str) -> str:
    said = supervisor.said(name, _LISTENS)
    if said is None:
        raise BirdwatchError(f"{name} is ready but does not say where: see {supervisor.log_of(name)}")
    return said.removeprefix(_LISTENS)
