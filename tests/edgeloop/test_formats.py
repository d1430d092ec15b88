"""The documents and names that both sides exchange: what one writes the other reads."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import DataError
from edgeloop.layout import BatchName, Layout, check_id, safe_id
from edgeloop.manifest import Artefact, Golden, Lineage, Reference, ReleaseManifest, decode_manifest
from edgeloop.rollout import ReleaseRef, RolloutDocument, bucket, decode_rollout
from edgeloop.schema import Feature, FeatureSchema
from edgeloop.status import DeviceStatus, UpdateState, decode_status
from edgeloop.verdict import Check, Verdict, decode_verdict
from ingest.plan import AcceptedBatch, AcceptedLabels, Plan, Rejected, decode_plan

digests = st.text("0123456789abcdef", min_size=64, max_size=64)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
numbers = st.floats(allow_nan=False, allow_infinity=False)
artefacts = st.builds(
    Artefact, runtime=st.just("onnx"), target=st.text(), sha256=digests, length=st.integers(1), memory=st.integers(0)
)


@given(st.integers(0, 999_999), st.integers(1, 10**12 - 1), digests)
def test_batch_names_round_trip_and_sort_by_sequence(epoch: int, seq: int, sha: str) -> None:
    name = BatchName(epoch, seq, sha)
    assert BatchName.parse(str(name)) == name
    if seq > 1:
        assert str(BatchName(epoch, seq - 1, sha)) < str(name)


@given(st.text())
def test_any_other_name_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        BatchName.parse(text + ".parquet.x")


@given(st.text(min_size=1))
def test_a_safe_id_is_one_path_part_and_says_which_name_it_was(text: str) -> None:
    found = safe_id(text)
    assert check_id("device", found) == found
    assert "/" not in found
    assert ".." not in found
    assert found == safe_id(text)


@pytest.mark.parametrize("device", ["../x", "a/b", "", ".", "..", "a..b", "x" * 65, "a\x00b", "-x", "a."])
def test_a_hostile_device_id_makes_no_path(device: str) -> None:
    with pytest.raises(DataError, match="Use 1 to 64"):
        Layout("loop").status(device)


@given(st.builds(
    ReleaseManifest,
    version=st.just(1),
    loop=st.just("pump"),
    id=st.just("r0001"),
    counter=st.integers(1, 9999),
    created=moments,
    schema=st.just(FeatureSchema((Feature("a"), Feature("m", "category", ("x", "y"))))),
    classes=st.just(("good", "bad")),
    models=st.tuples(artefacts),
    golden=st.builds(
        Golden,
        inputs=st.tuples(st.tuples(st.none() | numbers, numbers)),
        probabilities=st.tuples(st.tuples(numbers, numbers)),
        tolerance=numbers,
    ),
    latency_budget_ms=numbers,
    lineage=st.builds(Lineage, parameters=st.dictionaries(st.text(), st.integers()), trained_from=moments, trained_until=moments),
    metrics=st.dictionaries(st.text(), numbers),
    reference=st.dictionaries(st.text(), st.builds(Reference, missing=numbers, edges=st.just((1.0,)), shares=st.just((0.5, 0.5)))),
))  # fmt: skip
def test_manifests_round_trip_with_the_same_digest(manifest: ReleaseManifest) -> None:
    again = decode_manifest(manifest.encode())
    assert again == manifest
    assert again.sha256 == manifest.sha256


def test_a_manifest_from_before_memory_was_measured_keeps_its_digest() -> None:
    artefact = msgspec.json.decode(b'{"length":9,"runtime":"onnx","sha256":"aa","target":"t"}', type=Artefact)
    assert artefact.memory == 0
    assert msgspec.json.encode(artefact, order="sorted") == b'{"length":9,"runtime":"onnx","sha256":"aa","target":"t"}'


def test_a_lineage_from_before_sources_were_preferred_is_written_as_it_was() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    before = Lineage(1, 0, 0, "", "", 0, 0, moment, moment, "", {}, "")
    assert b"label_sources" not in msgspec.json.encode(before)
    after = msgspec.structs.replace(before, label_sources=("lab",))
    assert msgspec.json.decode(msgspec.json.encode(after), type=Lineage) == after


def rollout(**changes: object) -> RolloutDocument:
    stable, candidate = ReleaseRef("r1", 1, "a" * 64), ReleaseRef("r2", 2, "b" * 64)
    found = RolloutDocument(
        1,
        "pump",
        3,
        stable,
        candidate,
        "salt",
        "other",
        (2500, 10000),
        0,
        2500,
        0,
        False,
        "running",
        "",
        datetime(2024, 1, 1, tzinfo=UTC),
        90,
    )
    return msgspec.structs.replace(found, **changes)


@given(st.integers(0, 10_000), st.text(min_size=1, max_size=20), st.text())
def test_a_wider_wave_keeps_who_was_in_it(exposed: int, device: str, salt: str) -> None:
    narrow = rollout(waves=(exposed, 10000), salt=salt)
    wide = rollout(waves=(min(exposed + 1000, 10_000), 10000), salt=salt)
    assert decode_rollout(narrow.encode()) == narrow
    if narrow.assigned(device) == narrow.candidate:
        assert wide.assigned(device) == wide.candidate
    assert rollout(candidate=None).assigned(device) == rollout().stable


def test_a_wave_holds_its_share_of_devices() -> None:
    arms = Counter(rollout().arm(f"device-{i}") for i in range(20_000))
    assert 4700 < arms["treated"] < 5300
    assert 3500 < arms["control"] < 4000  # a quarter of the rest
    assert all(0 <= bucket("s", f"{i}") < 10_000 for i in range(1000))


counts = st.integers(0, 10**11)
paths = st.text(min_size=1, max_size=40)
rejected = st.builds(Rejected, path=paths, reason=st.text(), rows=counts, version=st.text())
plans = st.builds(
    Plan,
    version=st.just(1),
    number=st.integers(1, 10**9),
    loop=st.just("pump"),
    created=moments,
    batches=st.lists(
        st.builds(AcceptedBatch, path=paths, device=st.text(), sha256=digests, sealed_at=moments), max_size=3
    ).map(tuple),
    duplicates=st.lists(paths, max_size=3).map(tuple),
    rejected=st.lists(rejected, max_size=3).map(tuple),
    labels=st.lists(st.builds(AcceptedLabels, path=paths, source=st.text(), sha256=digests), max_size=3).map(tuple),
    rejected_labels=st.lists(rejected, max_size=3).map(tuple),
    lane=st.integers(0, 63),
)
verdicts = st.builds(
    Verdict,
    version=st.just(1),
    manifest_sha256=digests,
    checks=st.lists(st.builds(Check), max_size=3).map(tuple),
    decided=moments,
)


@given(plans, verdicts)
def test_plans_and_verdicts_round_trip(plan: Plan, verdict: Verdict) -> None:
    assert decode_plan(plan.encode()) == plan
    assert decode_verdict(verdict.encode()) == verdict
    assert plan.paths >= {bad.path for bad in plan.rejected}
    older = msgspec.to_builtins(plan)
    del older["lane"]
    assert decode_plan(msgspec.json.encode(older)) == msgspec.structs.replace(plan, lane=0)


@given(counts, counts, counts, moments, st.text(), st.dictionaries(digests, st.text(), max_size=3))
def test_statuses_round_trip_and_untrue_books_are_refused(
    acked: int, shed: int, spooled: int, at: datetime, reason: str, refused: dict[str, str]
) -> None:
    status = make_status(
        produced=acked + shed + spooled,
        acked=acked,
        shed=shed,
        spooled=spooled,
        time=at,
        update=UpdateState("idle", reason, at),
        refused=refused,
    )
    assert decode_status(status.encode()) == status
    with pytest.raises(DataError):
        decode_status(msgspec.structs.replace(status, shed=shed + 1).encode())


@given(st.binary(max_size=200))
def test_no_bytes_crash_a_reader(content: bytes) -> None:
    for decode in (decode_manifest, decode_rollout, decode_status, decode_plan, decode_verdict):
        with pytest.raises(DataError):
            decode(content)


@pytest.mark.parametrize("content", [b"[" * 60_000, b'{"a":' * 10_000])
def test_nor_does_any_depth(content: bytes) -> None:
    for decode in (decode_manifest, decode_rollout, decode_status, decode_plan, decode_verdict):
        with pytest.raises(DataError, match="cannot be read"):
            decode(content)


def make_status(**changes: object) -> DeviceStatus:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    found = DeviceStatus(
        version=1,
        loop="pump",
        device="d",
        time=now,
        epoch=1,
        produced=0,
        acked=0,
        shed=0,
        spooled=0,
        release="",
        release_id="",
        on_probation=False,
        update=UpdateState("idle", "", now),
        refused={},
        invalid={},
        uploaded_bytes=0,
        downloaded_bytes=0,
        runtime="",
    )
    return msgspec.structs.replace(found, **changes)


def test_a_newer_version_says_upgrade_and_unknown_keys_are_read_over() -> None:
    status = make_status()
    document = msgspec.json.decode(status.encode())
    assert decode_status(msgspec.json.encode({**document, "new": 1})) == status
    with pytest.raises(DataError, match="Upgrade"):
        decode_status(msgspec.json.encode({**document, "version": 2}))
