"""Processes of the demo are started, looked after, and never left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from birdwatch.demo.supervisor import Command, Supervisor
from birdwatch.errors import BirdwatchError

from .waiting import until

pytestmark = pytest.mark.integration

WORKER = """
import os, subprocess, sys, time
kind = sys.argv[1]
if kind == "fails":
    sys.exit("the port is taken")
if kind == "silent":
    time.sleep(60)
if kind == "parent":
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    child.stdout.readline()
    print(f"child {child.pid}", flush=True)
if kind == "stubborn":
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(f"pid {os.getpid()}", flush=True)
print(f"environment {sorted(n for n in os.environ if n.startswith('BIRDWATCH_'))} {os.environ['OMP_NUM_THREADS']}", flush=True)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    return [sys.executable, str(path)]


@pytest.fixture
def said():
    return []


@pytest.fixture
def supervisor(tmp_path, program, said):
    with Supervisor(tmp_path / "logs", said.append, program) as made:
        yield made


def pid_of(supervisor, name, what="pid"):
    return int(supervisor.said(name, f"{what} ").split()[1])


def lives(pid):
    """Tell whether a process runs; one that has ended but was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_everything_is_stopped_with_its_children_even_those_that_do_not_listen(tmp_path, program):
    with Supervisor(tmp_path / "logs", print, program) as supervisor:
        for name in ("plain", "parent"):
            supervisor.start(Command(name, [name]))
        supervisor.wait("plain", "parent")
        pids = [pid_of(supervisor, "plain"), pid_of(supervisor, "parent"), pid_of(supervisor, "parent", "child")]
        assert all(lives(pid) for pid in pids)
    until(lambda: not any(lives(pid) for pid in pids))


def test_what_does_not_listen_is_stopped_by_force(tmp_path, program, monkeypatch):
    monkeypatch.setattr("birdwatch.demo.supervisor._STOP_SECONDS", 0.2)
    with Supervisor(tmp_path / "logs", print, program) as supervisor:
        supervisor.start(Command("stubborn", ["stubborn"]))
        supervisor.wait("stubborn")
        pid = pid_of(supervisor, "stubborn")
    assert not lives(pid)


def test_one_that_fails_at_its_start_is_named_with_its_last_words(supervisor):
    supervisor.start(Command("gateway", ["fails"]))
    with pytest.raises(
        BirdwatchError, match=r"gateway ended with code 1 at its start: the port is taken \(all of it: .*gateway\.log"
    ):
        supervisor.wait("gateway")


def test_one_that_never_gets_ready_is_named(supervisor):
    supervisor.start(Command("tail", ["silent"]))
    with pytest.raises(BirdwatchError, match="tail was not ready within 0 s: it said nothing"):
        supervisor.wait("tail", seconds=0.2)


def test_one_that_dies_is_started_again_and_that_is_said(supervisor, said):
    supervisor.start(Command("tail", ["plain"]))
    supervisor.wait("tail")
    first = pid_of(supervisor, "tail")
    os.kill(first, signal.SIGKILL)
    until(lambda: not lives(first))
    supervisor.check()
    until(lambda: pid_of(supervisor, "tail") != first)
    assert len(said) == 1
    assert "tail ended with code -9; it is started again" in said[0]


def test_one_that_the_demo_needs_ends_it_by_dying(supervisor):
    supervisor.start(Command("gateway", ["plain"], vital=True))
    supervisor.wait("gateway")
    pid = pid_of(supervisor, "gateway")
    os.kill(pid, signal.SIGKILL)
    until(lambda: not lives(pid))
    with pytest.raises(BirdwatchError, match="gateway ended with code -9"):
        supervisor.check()


def test_one_that_dies_again_and_again_is_given_up(supervisor, said):
    supervisor.start(Command("tail", ["fails"]))

    def given_up():
        try:
            supervisor.check()
        except BirdwatchError as error:
            return "the port is taken" in str(error)
        return False

    until(given_up, 60.0)
    assert len(said) == 5


def test_settings_in_the_environment_do_not_reach_the_processes(tmp_path, program, monkeypatch):
    monkeypatch.setenv("BIRDWATCH_PANE_SECONDS", "5")
    with Supervisor(tmp_path / "logs", print, program) as supervisor:
        supervisor.start(Command("tail", ["plain"]))
        supervisor.wait("tail")
        assert supervisor.said("tail", "environment") == "environment [] 1"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent has died")
def test_nothing_is_left_when_the_demo_itself_is_killed(tmp_path, program):
    script = tmp_path / "demo.py"
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from birdwatch.demo.supervisor import Command, Supervisor\n"
        "with Supervisor(Path(sys.argv[1]), print, sys.argv[2:]) as supervisor:\n"
        "    supervisor.start(Command('tail', ['plain']))\n"
        "    supervisor.wait('tail')\n"
        "    print(supervisor.said('tail', 'pid '), flush=True)\n"
        "    time.sleep(60)\n"
    )
    demo = subprocess.Popen([sys.executable, script, tmp_path / "logs", *program], stdout=subprocess.PIPE, text=True)
    with demo:
        child = int(demo.stdout.readline().split()[1])
        assert lives(child)
        demo.kill()
    until(lambda: not lives(child))
