"""Who is measured, with which packages, and an environment of its own for each: none has to bear another's versions."""

import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["PEERS", "Peer", "environment"]


class Peer(NamedTuple):
    """A library, and how it is asked.

    Attributes
    ----------
    packages
        What is installed for it; empty: it is in the environment of the project.
    asked
        What it works out, and when it says that something has changed.
    why
        Why a package is held back from its newest version or added, if one is.
    """

    packages: tuple[str, ...]
    asked: str
    why: str = ""


PEERS: Final = {
    "birdwatch": Peer((), "KS and PSI; KS beyond what chance explains at 5 % over all ten models"),
    "scipy": Peer(("scipy", "numpy", "pyarrow"), "`ks_2samp`, and PSI over the reference's deciles; p < 5 %"),
    "duckdb": Peer(("duckdb",), "KS and PSI in SQL; KS beyond its bound at 5 %"),
    "polars": Peer(("polars",), "KS and PSI as expressions; KS beyond its bound at 5 %"),
    "evidently": Peer(
        ("evidently", "pandas<3", "pyarrow"),
        "`ValueDrift` with `ks` and with `psi`, its own levels (p < 5 %, PSI ≥ 0.1)",
        "cannot be imported beside pandas 3",
    ),
    "nannyml": Peer(
        ("nannyml", "statsmodels", "pyarrow"),
        "`UnivariateDriftCalculator`: KS and Jensen–Shannon (it has no PSI) in ten chunks; its own alerts",
        "needs statsmodels, and does not ask for it",
    ),
    "whylogs": Peer(
        ("whylogs[viz]", "numpy<2", "pandas<3", "pyarrow<20"),
        "profiles; `calculate_drift_scores` with KS, and Hellinger (it has no PSI); its own levels",
        "does not work with numpy 2",
    ),
    "alibi-detect": Peer(
        ("alibi-detect", "pyarrow<20"),
        "`KSDrift` with its correction over features at 5 % (it has no PSI)",
        "asks for numpy 1, with which a newer pyarrow does not work",
    ),
    "popmon": Peer(("popmon", "pyarrow"), "`stability_metrics` against a reference: KS and PSI, its own red lights"),
    "river": Peer(("river", "pyarrow"), "`KSWIN`, a value at a time, as streams come (it has no PSI)"),
}


def environment(name: str, under: Path) -> Path:
    """Make the environment of a peer, unless it is there; give its Python.

    Raises
    ------
    RuntimeError
        Its packages cannot be installed.
    """
    packages = PEERS[name].packages
    if not packages:
        return Path(sys.executable)
    python = under / name / "bin" / "python"
    made = under / name / ".made"
    wanted = "\n".join(packages)
    if not made.exists() or made.read_text(encoding="utf-8") != wanted:
        for command in (
            ["venv", "--quiet", "--clear", "--python", sys.executable, str(under / name)],
            # Compiled here, so that nobody's first start is the slow one.
            ["pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *packages],
        ):
            done = subprocess.run([sys.executable, "-m", "uv", *command], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{name}: uv {' '.join(command)}: {done.stderr.strip()}")
        made.write_text(wanted, encoding="utf-8")
    return python
