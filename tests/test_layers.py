"""Imports point down, and observing and serving share only records and streams."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import birdwatch

PACKAGE = Path(birdwatch.__file__).parent

# Each part may import the parts of the tiers above its own in this list, never of its own tier or below.
TIERS = (
    {"deltas", "errors", "page", "signals"},
    {"config", "content", "disk", "records"},
    {"stats"},
    {"health", "streams"},
    {"archive"},
    {"windows"},
    {"detect", "spark"},
    {"alerts", "check", "evaluate"},
    {"charts"},
    {"report"},
    {"serving"},
    {"testing"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
TIER = {part: number for number, tier in enumerate(TIERS) for part in tier}
SERVING_MAY = {"archive", "errors", "health", "records", "signals", "stats", "streams"}
MAY_SERVE = {"serving", "testing", "demo", "cli"}


def modules():
    """Give every module's source by its dotted name, without the package's."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "_content":
            found[".".join(parts).removesuffix(".__init__")] = path.read_text()
    return found


def imported(source):
    """Give what is imported of birdwatch anywhere in a source: at the top, in functions, for type checkers."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = ["birdwatch.a relative import"] if isinstance(node, ast.ImportFrom) else []
        yield from (name.split(".", 1)[1] for name in names if name.startswith("birdwatch."))


def fault(module, name):
    """Say what is wrong with `module` importing `name`, or give None."""
    here, there = module.split(".")[0], name.split(".")[0]
    if here in ("__init__", there) or there.startswith("__"):
        return None
    if there not in TIER or here not in TIER:
        return f"{module} imports {name}: give both a tier in this test"
    if here == "serving" and there not in SERVING_MAY:
        return f"{module} imports {name}: serving knows nothing of observing"
    if there == "serving" and here not in MAY_SERVE:
        return f"{module} imports {name}: observing never touches serving"
    if TIER[there] >= TIER[here]:
        return f"{module} imports {name}: imports point down"
    return None


def test_every_import_points_down():
    faults = [fault(module, name) for module, source in modules().items() for name in imported(source)]
    assert [said for said in faults if said] == []


def test_every_part_has_a_tier():
    assert {module.split(".")[0] for module in modules()} - set(TIER) <= {"__init__"}


@pytest.mark.parametrize(
    ("module", "source", "said"),
    [
        ("windows.pane", "from birdwatch.detect.verdict import Finding", "imports point down"),
        ("alerts.sinks", "def f():\n    import birdwatch.check.gate", "imports point down"),
        ("serving.runner", "from birdwatch.windows.store import Store", "knows nothing of observing"),
        ("serving.runner", "from birdwatch.config import Settings", "knows nothing of observing"),
        ("check.gate", "from birdwatch.serving.runner import runner", "never touches serving"),
        ("stats.grid", "from . import quantiles", "give both a tier"),
        ("stats.grid", "from birdwatch.utils import x", "give both a tier"),
    ],
)
def test_an_arrow_that_points_elsewhere_is_found(module, source, said):
    (name,) = imported(source)
    assert said in fault(module, name)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("windows.store", "from birdwatch.stats.grid import GRID_VERSION"),
        ("serving.gateway", "from birdwatch.streams import open_streams"),
        ("cli.serve", "from birdwatch.serving.gateway.gateway import run"),
        ("demo.flights", "from birdwatch import __version__"),
    ],
)
def test_an_arrow_that_points_down_is_left_alone(module, source):
    assert [fault(module, name) for name in imported(source)] == [None]


@pytest.mark.parametrize(
    "part",
    ["windows.tail", "windows.worker", "windows.merge", "detect.judge", "check.gate", "check.shadow", "cli.judging"],
)
def test_what_counts_and_judges_starts_without_the_slow_libraries(part):
    slow = {"altair", "pandas", "scipy.stats", "statsmodels", "streamlit"}
    code = f"import sys, birdwatch.{part}; print(sorted({slow!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


SLOW_TO_START = {"altair", "confluent_kafka", "pandas", "pyarrow", "rich.console", "scipy", "statsmodels", "streamlit"}


@pytest.mark.parametrize("part", ["cli.check", "check.gate", "check.shadow"])
def test_the_check_starts_with_numpy_alone(part):
    code = f"import sys, birdwatch.{part}; print(sorted({SLOW_TO_START!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("code", "others"),
    [
        ("import birdwatch", set()),
        (
            "from birdwatch.cli import main\ntry: main()\nexcept SystemExit: pass",
            {"annotated_doc", "shellingham", "typer"},
        ),
    ],
)
def test_the_package_and_its_help_start_with_next_to_nothing(code, others):
    # What the interpreter loads by itself is the machine's affair.
    before = "import sys; sys.argv[1:] = ['--help']; before = {*sys.modules, *sys.stdlib_module_names}"
    say = "print('loaded', *sorted({name.partition('.')[0] for name in {*sys.modules} - before}), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{code}\n{say}"], capture_output=True, text=True, check=True
    )
    loaded = {name for name in done.stderr.split()[1:] if name not in sys.stdlib_module_names}
    assert loaded - others == {"birdwatch"}
