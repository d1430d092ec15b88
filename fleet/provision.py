"""What a bucket needs to serve a fleet, and what of it is lacking: decided as data, done apart.

With versions kept, nothing that is overwritten or deleted is gone at once. Lifecycle rules say when it is:

- what went from `loops/`, and what `releases/` had that was replaced or deleted, after `KEEP`;
- in inboxes, which are listed all the time, and of statuses, which devices overwrite all the time, after a day;
- quarantined batches, current as they are, after `QUARANTINE`.

S3 knows rules by prefix only. None has a prefix of `releases/metadata/N.root.json`, so that even a root that was deleted by
mistake is there for ever; and none but the quarantine's ends anything that is current.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from minio.commonconfig import ENABLED, Filter
from minio.lifecycleconfig import AbortIncompleteMultipartUpload, Expiration, NoncurrentVersionExpiration, Rule

from edgeloop.errors import EdgeloopError
from edgeloop.layout import RELEASE_METADATA, RELEASE_TARGETS, Layout
from fleet.access import minio_policy, policy_name
from fleet.bucket import Bucket, Denied, Unsupported

KEEP = timedelta(days=30)
QUARANTINE = timedelta(days=90)
BRIEFLY = timedelta(days=1)
UPLOADS = timedelta(days=7)

Action = Literal["create", "change", "keep", "unsupported", "denied"]
Kind = Literal["bucket", "versioning", "lifecycle", "uploads", "policy", "quota"]


@dataclass(frozen=True)
class Item:
    """One thing that is wanted of a store; `name` tells it from others of its kind."""

    kind: Kind
    name: str
    wanted: Any
    says: str


@dataclass(frozen=True)
class Step:
    """What is to be done about an item, or was; `says` what is wanted, or why it cannot be had."""

    action: Action
    kind: Kind
    name: str
    says: str


def items(bucket: str, prefix: str, loops: tuple[str, ...] = (), quota: int | None = None) -> tuple[Item, ...]:
    """Everything that is wanted of a store, in the order in which it is made.

    Args:
        prefix: of the store in the bucket, without slashes at its ends; may be empty.
        loops: the names of those whose devices and quarantine are provided for.
        quota: bytes for the whole bucket; None leaves it as it is.
    """
    return (
        Item("bucket", bucket, True, "is there"),
        Item("versioning", bucket, ENABLED, "what is overwritten or deleted is kept as a version"),
        *_rules(f"{prefix}/" if prefix else "", loops),
        *(
            Item(
                "policy",
                policy_name(bucket, prefix, loop),
                minio_policy(bucket, prefix, loop),
                f"what a device of {loop} may do",
            )
            for loop in loops
        ),
        *(() if quota is None else (Item("quota", bucket, quota, f"at most {quota:,} bytes"),)),
    )


def decide(wanted: Item, found: Any) -> Step:
    """What to do about an item of which `found` is there: None for nothing, or why that cannot be known."""
    if isinstance(found, EdgeloopError):
        return _cannot(wanted, found)
    action: Action = (
        "create" if found in (None, False) else "keep" if _normal(found) == _normal(wanted.wanted) else "change"
    )
    return Step(action, wanted.kind, wanted.name, wanted.says)


def plan(bucket: Bucket, wanted: tuple[Item, ...]) -> list[Step]:
    """What is to be done. Raises `StoreError`: the store cannot be asked."""
    return [decide(item, _found(bucket, item)) for item in wanted]


def provision(bucket: Bucket, wanted: tuple[Item, ...]) -> list[Step]:
    """Do what is lacking, and leave the rest as it is; what was done. What cannot be had does not stop the others.

    Raises:
        StoreError: the store cannot be asked.
    """
    return [_done(bucket, item) for item in wanted]


def _done(bucket: Bucket, item: Item) -> Step:
    step = decide(item, _found(bucket, item))
    if step.action in ("create", "change"):
        try:
            _put(bucket, item)
        except (Denied, Unsupported) as error:
            return _cannot(item, error)
    return step


def _cannot(item: Item, error: EdgeloopError) -> Step:
    return Step("denied" if isinstance(error, Denied) else "unsupported", item.kind, item.name, error.message)


def _found(bucket: Bucket, item: Item) -> Any:
    """What there is of an item, None for nothing; or the error that says why that cannot be known."""
    try:
        match item.kind:
            case "bucket":
                return bucket.exists()
            case "versioning" if not bucket.has_rules():
                return Unsupported(
                    "old versions are not kept, for nothing would end them: this store has no lifecycle rules."
                )
            case "versioning":
                return bucket.versioning()
            case "uploads" if bucket.is_minio():
                return item.wanted  # it ends them by itself after a day, and takes no such rule
            case "lifecycle" | "uploads":
                return bucket.rule(item.wanted.rule_id)
            case "policy":
                return bucket.policy(item.name)
            case "quota":
                return bucket.quota()
    except (Denied, Unsupported) as error:
        return error


def _put(bucket: Bucket, item: Item) -> None:
    match item.kind:
        case "bucket":
            bucket.make()
        case "versioning":
            bucket.keep_versions()
        case "lifecycle" | "uploads":
            bucket.put_rule(item.wanted)
        case "policy":
            bucket.put_policy(item.name, item.wanted)
        case "quota":
            bucket.put_quota(item.wanted)


def _rules(root: str, loops: tuple[str, ...]) -> Iterator[Item]:
    for layout in map(Layout, loops):
        expiry = Expiration(days=QUARANTINE.days)
        yield _rule(f"{root}{layout.quarantine}/", f"ends after {QUARANTINE.days} days", expiration=expiry)
        for folder in (layout.inbox, layout.statuses):
            yield _old_versions(f"{root}{folder}/", BRIEFLY)
    for prefix in ("loops/", f"{RELEASE_TARGETS}/", f"{RELEASE_METADATA}/timestamp.json"):
        yield _old_versions(f"{root}{prefix}", KEEP)
    abort = AbortIncompleteMultipartUpload(UPLOADS.days)
    says = f"uploads that broke off end after {UPLOADS.days} days or sooner"
    yield _rule(root, says, "uploads", abort_incomplete_multipart_upload=abort)


def _old_versions(prefix: str, keep: timedelta) -> Item:
    """Versions that are not current end after `keep`, and then the mark that a deletion leaves."""
    return _rule(
        prefix,
        f"versions that are not current end after {keep.days} day{'s' * (keep.days > 1)}",
        expiration=Expiration(expired_object_delete_marker=True),
        noncurrent_version_expiration=NoncurrentVersionExpiration(noncurrent_days=keep.days),
    )


def _rule(prefix: str, says: str, kind: Kind = "lifecycle", **actions: Any) -> Item:
    rule = Rule(ENABLED, rule_filter=Filter(prefix=prefix), rule_id=f"edgeloop {kind} {prefix}".strip(), **actions)
    return Item(kind, prefix, rule, says)


def _normal(thing: Any) -> Any:
    """A policy's lists are sets, and a MinIO gives them back in an order of its own."""
    if isinstance(thing, Mapping):
        return {key: _normal(value) for key, value in thing.items()}
    return sorted(map(_normal, thing), key=str) if isinstance(thing, list) else thing
