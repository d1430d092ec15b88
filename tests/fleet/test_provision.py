"""What `edgeloop fleet init` gives a bucket, on a real MinIO; and that no rule of it can end what must stay."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from minio.commonconfig import ENABLED, Filter
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

from edgeloop.layout import RELEASE_METADATA, RELEASE_TARGETS, Layout
from edgeloop.store import open_store
from fleet.access import device_policy, new_secret, open_access, policy_name
from fleet.bucket import Denied, Unsupported, open_bucket
from fleet.provision import Item, Step, decide, items
from tests.command import end_of
from tests.site import LOOP

Init = Callable[..., list[Step]]
QUOTA = ("--quota-gb", "2")


@pytest.fixture
def store(minio: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a store in a bucket that is not there."""
    for name, value in minio.items():
        monkeypatch.setenv(name, value)
    return f"s3://b{secrets.token_hex(8)}/plant"


@pytest.fixture
def init(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Init:
    """Runs the command; the steps that it tells."""
    loop = tmp_path / "loop.toml"
    loop.write_text(LOOP)

    def run(*arguments: object, code: int = 0) -> list[Step]:
        where = ("--store", store, "--keys", tmp_path / "keys", "--json")
        out, _ = end_of(monkeypatch, capsys, "fleet", "init", loop, *where, *arguments, code=code)
        return msgspec.convert(msgspec.json.decode(out)["steps"], list[Step]) if out else []

    return run


def actions(steps: list[Step]) -> set[tuple[str, str]]:
    """What was done and to what, of all that was not left as it is."""
    return {(step.action, step.kind) for step in steps if step.action != "keep"}


def test_from_nothing_then_nothing_more(store: str, init: Init, tmp_path: Path) -> None:
    planned = init(*QUOTA, "--dry-run")
    assert not open_bucket(store)[0].exists()
    assert not (tmp_path / "keys").exists()
    made = init(*QUOTA)
    assert made == planned
    assert actions(made) == {("create", kind) for kind in ("bucket", "versioning", "lifecycle", "policy", "quota")}
    assert open_store(store).size(f"{RELEASE_METADATA}/1.root.json")
    assert not actions(init(*QUOTA, "--dry-run"))
    assert not actions(init(*QUOTA))


def test_what_drifted_is_mended_and_what_is_not_ours_stays(store: str, init: Init) -> None:
    init(*QUOTA)
    bucket, prefix = open_bucket(store)
    ours = [item.wanted for item in items(bucket.name, prefix, ("pump",)) if item.kind == "lifecycle"]
    theirs = Rule(ENABLED, rule_filter=Filter(prefix="theirs/"), rule_id="theirs", expiration=Expiration(days=1))
    left = [theirs, replace(ours[0], expiration=Expiration(days=1)), *ours[2:]]  # one is changed, one is gone
    bucket._client.set_bucket_lifecycle(bucket_name=bucket.name, config=LifecycleConfig(left))
    bucket.put_quota(10**9)
    bucket.put_policy(policy_name(bucket.name, prefix, "pump"), device_policy("elsewhere", "", "pump"))
    drifted = {("change", "lifecycle"), ("create", "lifecycle"), ("change", "quota"), ("change", "policy")}
    assert actions(init(*QUOTA, "--dry-run")) == drifted
    assert actions(init(*QUOTA)) == drifted
    assert bucket.rule("theirs") == theirs
    assert not actions(init())  # a quota that is not spoken of is left as it is
    assert bucket.quota() == 2 * 10**9


def test_who_may_do_a_part_does_that_and_is_told_the_rest(
    init: Init, store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    access, secret = open_access(store), new_secret()
    access._admin.user_add(access_key="tenant", secret_key=secret)
    access._admin.attach_policy(policies=["readwrite"], user="tenant")  # all of S3, nothing of MinIO's administration
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tenant")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    made = actions(init(*QUOTA, code=4))
    assert made == {
        *(("create", kind) for kind in ("bucket", "versioning", "lifecycle")),
        ("denied", "quota"),
        ("denied", "policy"),
    }
    assert (tmp_path / "keys").exists()


def test_who_may_nothing_gets_nothing_and_is_told_why(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> str:
        where = ("--store", store, "--keys", tmp_path / "keys")
        return " ".join(end_of(monkeypatch, capsys, "fleet", "init", *where, *arguments, code=4)[1].split())

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a wrong one")
    assert "request signature we calculated does not match" in said()
    assert "AWS_ENDPOINT_URL" in said("--endpoint", "http://127.0.0.1:9")
    assert not (tmp_path / "keys").exists()


def test_old_versions_are_not_kept_where_nothing_would_end_them(
    versitygw: dict[str, str], store: str, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in versitygw.items():
        monkeypatch.setenv(name, value)
    done = init(*QUOTA)
    lacking = ("versioning", "lifecycle", "uploads", "policy", "quota")
    assert actions(done) == {("create", "bucket"), *(("unsupported", kind) for kind in lacking)}
    assert open_store(store).size(f"{RELEASE_METADATA}/1.root.json")
    assert open_bucket(store)[0].versioning() is None
    assert actions(init(*QUOTA, "--dry-run")) == {("unsupported", kind) for kind in lacking}


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)


@given(
    loops=st.lists(names, min_size=1, max_size=3), prefix=st.sampled_from(["", "plant", "a/b"]), number=st.integers(1)
)
def test_no_rule_can_end_a_root_or_anything_current_but_quarantine(loops: list[str], prefix: str, number: int) -> None:
    root, layout = f"{prefix}/" if prefix else "", Layout(loops[0])
    rules = [item.wanted for item in items("bucket", prefix, tuple(loops)) if item.kind == "lifecycle"]

    def matching(path: str) -> list[Rule]:  # as S3 does
        return [rule for rule in rules if f"{root}{path}".startswith(rule.rule_filter.prefix)]

    assert not matching(f"{RELEASE_METADATA}/{number}.root.json")
    for path in (
        *(
            f"{folder}/x"
            for folder in (layout.inbox, layout.labels, layout.statuses, layout.plans, layout.lake("events"))
        ),
        f"{RELEASE_METADATA}/timestamp.json",
        f"{RELEASE_TARGETS}/models/{layout.loop}/x.onnx",
    ):
        assert not [rule for rule in matching(path) if rule.expiration.days]
        assert [
            rule for rule in matching(path) if rule.noncurrent_version_expiration
        ]  # what is overwritten is not for ever
    assert [rule for rule in matching(f"{layout.quarantine}/d/x") if rule.expiration.days]


@pytest.mark.parametrize(
    ("found", "action"),
    [
        (None, "create"),
        (False, "create"),
        (7, "change"),
        (8, "keep"),
        (Unsupported("no"), "unsupported"),
        (Denied("no"), "denied"),
    ],
)
def test_what_is_found_decides(found: object, action: str) -> None:
    assert decide(Item("quota", "bucket", 8, "8 bytes"), found).action == action


def test_a_directory_has_no_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--store", tmp_path / "store", "--keys", tmp_path / "keys")
    _, said = end_of(monkeypatch, capsys, "fleet", "init", *where, *QUOTA, code=2)
    assert "no quota" in said


def test_what_would_be_done_and_what_was_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    init = ("fleet", "init", "--store", tmp_path / "store", "--keys", tmp_path / "keys", "--unencrypted")
    assert "would be made" in end_of(monkeypatch, capsys, *init, "--dry-run")[0]
    assert "would be made" not in end_of(monkeypatch, capsys, *init)[0]
