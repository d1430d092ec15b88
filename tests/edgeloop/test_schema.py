"""What makes two schemas interchangeable, and what has been stored goes on being read."""

from __future__ import annotations

import msgspec
import pytest

from edgeloop.config import parse_loop
from edgeloop.errors import DataError
from edgeloop.manifest import decode_document
from edgeloop.schema import FeatureSchema
from tests.site import LOOP

POLICIES = """
missing = {a = 1.0, mode = "slow"}
outside = {b = "reject"}
"""


def schema(tables: str = "") -> FeatureSchema:
    return parse_loop(LOOP.replace('from_time = ["hour"]', f'from_time = ["hour"]\n{tables}')).schema()


def test_a_policy_is_no_other_schema_and_what_a_feature_is_makes_one() -> None:
    assert schema(POLICIES) != schema()
    assert schema(POLICIES).digest == schema().digest
    others = (
        'hashed = ["c"]',
        "ranges = {a = [0.0, 1.0]}",
        '[privacy]\ndrop = ["a"]',
        "[privacy]\nround = {a = 0.5}",
        "[privacy]\nround = {a = 0.25}",
    )
    assert len({schema().digest, *(schema(other).digest for other in others)}) == 1 + len(others)


def test_loops_from_before_there_were_policies_keep_their_digest() -> None:
    # As devices have it in their settings, batches in their metadata and releases in their manifests.
    assert schema().digest == "171850e9791db8b4a5cfc7547067bda00757c7f417b5602f476d92eb497e3725"
    stored = (
        b'{"features":[{"name":"a"},{"name":"m","kind":"category","categories":["x"]},{"name":"hour","kind":"hour"}]}'
    )
    assert msgspec.json.encode(msgspec.json.decode(stored, type=FeatureSchema)) == stored


@pytest.mark.parametrize(
    "tables", [POLICIES, "ranges = {a = [0.0, inf], b = [-inf, 1e300]}", "[privacy]\nround = {a = 0.1}"]
)
def test_a_device_reads_the_schema_that_the_centre_has(tables: str) -> None:
    again = msgspec.json.decode(msgspec.json.encode(schema(tables)), type=FeatureSchema)
    assert again == schema(tables)
    assert again.digest == schema(tables).digest


@pytest.mark.parametrize(
    "feature", [b'{"name":"a","missing":"none"}', b'{"name":"a","outside":"wrap"}', b'{"name":"a","step":-1}']
)
def test_a_document_whose_features_contradict_themselves_cannot_be_read(feature: bytes) -> None:
    with pytest.raises(DataError, match="schema cannot be read"):
        decode_document(b'{"features":[%s]}' % feature, FeatureSchema, 1, "schema")
