"""How long the server takes to draw a page: at first, again when nothing is new, and again when a pane has closed."""

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.dashboard.growing import Growing

__all__ = ["PAGES", "Server"]

PAGES: Final = ("overview", "latency", "scores", "canary", "selection", "deployments", "alerts", "streams")

_DASHBOARDS: Final = Path(__file__).parents[2] / "dashboards"
_TIMEOUT_SECONDS: Final = 600
CLOCK = time.perf_counter


class Server:
    """The pages of the dashboard over a store, run in this process as a browser's session runs them."""

    def __init__(self, store: Path) -> None:
        os.environ["BIRDWATCH_STORE"] = str(store)
        sys.path.insert(0, str(_DASHBOARDS))
        logging.disable(logging.WARNING)
        import below  # noqa: PLC0415 - they lie beside the pages
        import frame  # noqa: PLC0415
        import streamlit as st  # noqa: PLC0415

        self._store = store
        self._seconds: list[float] = []
        self._points: list[int] = []
        draw, chart = frame._draw, st.vega_lite_chart  # noqa: SLF001 - what a live page runs again

        def timed(*arguments: Any, **named: Any) -> None:
            before = CLOCK()
            draw(*arguments, **named)
            self._seconds.append(CLOCK() - before)

        def counted(spec: Any, **named: Any) -> Any:
            self._points.append(max(len(table) for table in spec["datasets"].values()))
            return chart(spec=spec, **named)

        frame._draw, st.vega_lite_chart = timed, counted  # noqa: SLF001
        below.reached = lambda _: True  # all of a page, however far down

    def measure(self, page: str, stretch: str, rounds: int, advance: Callable[[], None]) -> dict[str, Any]:
        """Give the seconds that the part takes which a live page draws again, and the points of its largest chart."""
        self._points.clear()
        found: dict[str, Any] = {"first": self._run(page, stretch)}
        found["again"] = [self._run(page, stretch) for _ in range(rounds)]
        new = []
        with Growing(self._store) as growing:
            for _ in range(rounds):
                growing.close_a_pane()
                new.append(self._run(page, stretch))
                advance()
        return found | {"new pane": new, "points": max(self._points, default=0)}

    def _run(self, page: str, stretch: str) -> float:
        from streamlit.testing.v1 import AppTest  # noqa: PLC0415
        from streamlit.util import calc_hash  # noqa: PLC0415

        app = AppTest.from_file(str(_DASHBOARDS / "app.py"), default_timeout=_TIMEOUT_SECONDS)
        if page != PAGES[0]:
            app._page_hash = calc_hash(page)  # noqa: SLF001 - as the tests open a page
        app.query_params["range"] = stretch
        self._seconds.clear()
        app.run()
        if app.exception:
            raise RuntimeError(f"{page}: {app.exception[0].value}")
        return self._seconds[-1]
