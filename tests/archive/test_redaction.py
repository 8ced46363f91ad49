import hashlib
import hmac
import json
import stat

import pytest

from birdwatch.archive.redaction import KEY, Redaction, read_key
from birdwatch.errors import SettingsError

SECRET = b"0123456789abcdef0123456789abcdef"
RECORD = {"id": "r1", "key": "Ann", "features": {"user": "Ann", "age": 41, "home": {"city": "Ulm", "zip": "89073"}}}


def applied(record=RECORD, **how):
    return json.loads(Redaction(key=SECRET, **how).apply(json.dumps(record).encode()))


def test_what_is_dropped_is_gone_at_any_depth():
    assert applied(drop=["key", "features.home.zip", "features.none.at.all"]) == {
        "id": "r1",
        "features": {"user": "Ann", "age": 41, "home": {"city": "Ulm"}},
    }


def test_of_an_object_only_what_is_allowed_is_kept():
    assert applied(only=["features.age", "features.home.city"]) == {
        **RECORD,
        "features": {"age": 41, "home": {"city": "Ulm"}},
    }


def test_a_hash_is_that_of_the_standard_library_over_the_value_as_json():
    found = applied(hashed=["key", "features.user", "features.home"])
    wanted = hmac.new(SECRET, b'"Ann"', hashlib.sha256).hexdigest()
    assert found["key"] == found["features"]["user"] == wanted
    assert found["features"]["home"] == hmac.new(SECRET, b'{"city":"Ulm","zip":"89073"}', hashlib.sha256).hexdigest()
    assert found["features"]["age"] == 41


def test_equal_objects_have_equal_hashes_and_nothing_has_none():
    swapped = applied({"features": {"zip": "89073", "city": "Ulm"}}, hashed=["features"])
    assert swapped == applied({"features": {"city": "Ulm", "zip": "89073"}}, hashed=["features"])
    assert applied({"features": {"user": None}}, hashed=["features.user"]) == {"features": {"user": None}}


@pytest.mark.parametrize("value", [b"not JSON", b'"Ann"', b"[1]", b"\xff\xff\xff\xffArrow", b"\xfe", b""])
def test_of_what_is_no_object_nothing_is_kept(value):
    assert Redaction(drop=["key"]).apply(value) is None


def test_numbers_come_back_as_they_were():
    record = {"a": 0.1, "b": 1e300, "c": 2**53 + 1, "d": -0.0, "drop": 1}
    assert applied(record, drop=["drop"]) == {name: value for name, value in record.items() if name != "drop"}


def test_what_was_left_out_can_be_said_without_telling_the_key():
    said = Redaction(drop=["key"], hashed=["features.user"], key=SECRET).said()
    assert json.loads(said)["drop"] == ["key"]
    assert SECRET.decode() not in said
    other = Redaction(drop=["key"], hashed=["features.user"], key=SECRET[::-1]).said()
    assert json.loads(said)["key"] != json.loads(other)["key"]


def test_a_short_key_is_refused():
    with pytest.raises(SettingsError, match=r"hashes key has 5 bytes: give one of at least 16"):
        Redaction(hashed=["key"], key=b"short")


def test_only_leads_into_an_object():
    with pytest.raises(SettingsError, match=r"only: 'features' would leave .* out: write features.NAME"):
        Redaction(only=["features"])


def test_the_key_is_in_the_environment_or_in_a_file(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(SettingsError, match="there is no key in the environment variable BIRDWATCH_ARCHIVE_KEY"):
        read_key(None)
    monkeypatch.setenv(KEY, SECRET.decode())
    assert read_key(None) == SECRET
    file = tmp_path / "key"
    file.write_bytes(SECRET[::-1] + b"\n")
    file.chmod(stat.S_IRUSR)
    assert read_key(file) == SECRET[::-1]
    with pytest.raises(SettingsError, match=r"archive_key_file = .*none: No such file"):
        read_key(tmp_path / "none")
