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
        ('column = "state"', 'column = "state"\nsources = ["lab", "lab"]', r"label\.sources names a source twice"),
        (
            'column = "state"',
            'column = "state"\nsources = ["labels/lab"]',
            r"label\.sources is \['labels/lab'\].*folders",
        ),
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


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ("ranges = {a = [5.0, 1.0]}", r"features\.ranges\.a is \[5\.0, 1\.0\]\. Give \[lowest, highest\]"),
        ("ranges = {a = [nan, 1.0]}", r"features\.ranges\.a is \[nan, 1\.0\]"),
        ("ranges = {mode = [0.0, 1.0]}", r"features\.ranges has 'mode'\. Name one of features\.numbers"),
        ("ranges = {a = [0.0, 1.0]}\nmissing = {a = 2}", r"features\.missing\.a is 2\.0\. Give a number from 0 to 1, or 'reject'"),
        ("missing = {a = inf}", r"features\.missing\.a is inf"),
        ("missing = {a = 'none'}", r"features\.missing\.a is 'none'\. Give a number"),
        ("missing = {mode = 'idle'}", r"features\.missing\.mode is 'idle'.*one of slow, fast"),
        ("missing = {mode = 0}", r"features\.missing\.mode is 0\.0.*one of slow, fast"),
        ("missing = {hour = 0}", r"features\.missing\.hour is 0\.0\. What is taken from the time is never missing"),
        ("hashed = ['badge']\nmissing = {badge = 'x'}", r"features\.missing\.badge is 'x'.*pseudonym"),
        ("missing = {c = 1}", r"features\.missing has 'c'\. Name one of the loop's features"),
        ("outside = {a = 'clip'}", r"features\.outside\.a is 'clip'\. Give 'clamp' or 'reject'"),
        ("outside = {a = 'clamp'}", r"features\.outside\.a is 'clamp', and there is no range\. Give features\.ranges\.a"),
        ("outside = {mode = 'reject'}", r"features\.outside has 'mode'"),
        ("hashed = ['a']", r"features 'a' and 'a' would share the column 'f_a'"),
        ("[privacy]\ndrop = ['c']", r"privacy\.drop has 'c'\. Name one of the loop's features"),
        ("[privacy]\nround = {mode = 1}", r"privacy\.round has 'mode'"),
        ("[privacy]\nround = {a = 0}", r"privacy\.round\.a is 0\.0\. Give a step"),
        ("[privacy]\nround = {a = inf}", r"privacy\.round\.a is inf"),
        ("ranges = {a = [1.0, 2.0]}\n[privacy]\nround = {a = 5}", r"privacy\.round\.a is 5\.0, which has no multiple in .*1\.0, 2\.0"),
        ("ranges = {a = [1e9, 2e9]}\n[privacy]\nround = {a = 1}", r"privacy\.round\.a .* within 4,194,304 steps of zero"),
        ("[privacy]\nround = {a = 1}\ndorp = []", r"privacy\.dorp is not a known key\. Did you mean 'drop'"),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_is_named_with_its_key_and_remedy(tables: str, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"^loop\.toml: {says}"):
        parse_loop(LOOP.replace('from_time = ["hour"]', f'from_time = ["hour"]\n{tables}'))


def test_the_order_of_inputs_is_numbers_categories_pseudonyms_time() -> None:
    hashed = LOOP.replace('from_time = ["hour"]', 'from_time = ["hour"]\nhashed = ["badge"]')
    assert parse_loop(hashed).schema().names == ("a", "b", "mode", "badge", "hour")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1.5h", 5400), ("14d", 14 * 86400), ("2w", 14 * 86400)]
)
def test_durations(text: str, seconds: float) -> None:
    found = Duration.parse(text)
    assert found.total_seconds() == seconds
    assert Duration.parse(str(found)) == found
