"""What the tests of all pages share: a full store, and pages opened as links open them."""

import importlib

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from .synthetic import write_store


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    made = tmp_path_factory.mktemp("dashboards") / "birdwatch.db"
    write_store(made).close()
    return made


@pytest.fixture
def view(root, monkeypatch):
    """Open a page over a store, as a link with these parameters would; scrolled down, or as it opens."""
    monkeypatch.syspath_prepend(str(root / "dashboards"))
    reached = importlib.import_module("below").reached

    def open_page(store, page="", *, scrolled=True, **query):
        monkeypatch.setenv("BIRDWATCH_STORE", str(store))
        # No browser is there to say that somebody scrolls.
        monkeypatch.setattr("below.reached", (lambda _: True) if scrolled else reached)
        app = AppTest.from_file(str(root / "dashboards" / "app.py"), default_timeout=120)
        if page:
            app._page_hash = calc_hash(page)
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return open_page


@pytest.fixture
def words():
    """Give all that a page says, as one text."""

    def said(app):
        found = [*app.title, *app.subheader, *app.markdown, *app.caption, *app.info, *app.warning, *app.error]
        return "\n".join(element.value for element in [*found, *app.success])

    return said
