from __future__ import annotations

import pytest

from edgeloop.config import parse_loop
from edgeloop.duration import Duration
from edgeloop.errors import ConfigError
from tests.site import LOOP


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("validation", "validaton", r"training\.validaton is not a known key\. Did you mean 'validation'\?"),
        ('"2d"\n[training.p', '"2 days"\n[training.p', r"training\.validation.*duration.*'14d'"),
        ('name = "pump"', "", r"loop\.name is missing"),
        ('"pump"', '"../pump"', r"loop\.name is '\.\./pump'.*letters"),
        ('["good", "bad"]', '["good"]', r"label\.classes has fewer than two"),
        ('column = "state"', 'column = "state"\ncuts = [1.0, 2.0]', r"label\.classes has 2 names for 3 classes"),
        ('["a", "b"]', '["a", "a!"]', r"would share the column 'f_a'"),
        ('["a", "b"]', '["a", "state"]', r"label\.column 'state' is a feature too"),
        ("min_rows = 50", 'min_rows = "many"', r"gate\.min_rows: expected `int`"),
        ("min_labels = 50", "min_labels = 50\nwaves = [9000, 100]", r"rollout\.waves.*ending in 10000"),
        ('["hour"]', '["minute"]', r"features\.from_time has 'minute'.*hour, weekday, month"),
        ("version = 1", "version = 9", r"version is 9.*upgrade"),
        ("[loop]", "[loop", r"not valid TOML"),
    ],
)
def test_each_mistake_is_named_with_its_key_and_remedy(old: str, new: str, says: str) -> None:
    assert old in LOOP
    with pytest.raises(ConfigError, match=says):
        parse_loop(LOOP.replace(old, new, 1))


def test_the_order_of_inputs_is_numbers_categories_time() -> None:
    assert parse_loop(LOOP).schema().names == ("a", "b", "mode", "hour")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1.5h", 5400), ("14d", 14 * 86400), ("2w", 14 * 86400)]
)
def test_durations(text: str, seconds: float) -> None:
    found = Duration.parse(text)
    assert found.total_seconds() == seconds
    assert Duration.parse(str(found)) == found
