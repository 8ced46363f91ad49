"""The reference says what the code says."""

import json
import re
import runpy
from pathlib import Path

import jsonschema
import pytest

from birdwatch.config import Settings
from birdwatch.records import RECORDS, Alert, Outcome, Token, encode
from birdwatch.streams.deadletters import DeadLetter

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages():
    return runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()


def test_the_reference_is_up_to_date(pages):
    stale = [str(path) for path, text in pages.items() if not path.exists() or path.read_text() != text]
    assert stale == [], "run `make docs`"


def test_nothing_is_left_of_what_is_gone(pages):
    written = {path for path in (ROOT / "docs" / "reference").rglob("*") if path.is_file()}
    generated = [path for path in written if path.suffix == ".json" or "Written by `make docs`" in path.read_text()]
    assert set(generated) <= set(pages)


def test_every_setting_is_explained(pages):
    page = pages[ROOT / "docs" / "reference" / "settings.md"]
    for name, field in Settings.model_fields.items():
        assert field.description
        assert re.search(
            rf"^\| `{name}`<br>`BIRDWATCH_{name.upper()}` \| .*{re.escape(field.description)} \|$", page, re.MULTILINE
        )


@pytest.mark.parametrize(
    "record",
    [
        Outcome(request_id="r", request_ts=1.0, ts=2.0, label=1.0),
        Alert(
            fingerprint="ab12",
            ts=120.0,
            started=60.0,
            state="firing",
            rule="shift",
            severity="page",
            attribution="",
            model="m",
            version="2",
            reason="moved",
            value=float("nan"),
        ),
        DeadLetter(stream="scores", partition=0, offset=17, ts=1.0, reason="", value="", length=0, key="r1"),
        Token(token="t1", component="rendezvous", to="second"),
    ],
)
def test_a_record_as_it_travels_keeps_to_its_schema(pages, record):
    schema = json.loads(pages[ROOT / "docs" / "reference" / "records" / f"{type(record).__name__}.json"])
    jsonschema.validate(json.loads(encode(record)), schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("kind", dict.fromkeys((*RECORDS.values(), DeadLetter, Token)))
def test_a_record_that_lacks_a_field_does_not_keep_to_its_schema(pages, kind):
    schema = json.loads(pages[ROOT / "docs" / "reference" / "records" / f"{kind.__name__}.json"])
    with pytest.raises(jsonschema.ValidationError, match="required"):
        jsonschema.validate({"ts": 1.0}, schema, cls=jsonschema.Draft202012Validator)
