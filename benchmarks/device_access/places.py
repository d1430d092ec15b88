"""Where a device's credentials are tried: every folder of a store, those of others with its name in them, and what is beside the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from xml.etree import ElementTree

from benchmarks.device_access.asking import User

DEVICE, LOOP, PREFIX, BUCKET, OTHER_BUCKET = "dev-1", "pump", "plant", "edgeloop", "other"
OWN_INBOX, OWN_STATUS = f"{PREFIX}/loops/{LOOP}/inbox/{DEVICE}/", f"{PREFIX}/loops/{LOOP}/status/{DEVICE}.json"
TARGETS = f"{PREFIX}/releases/targets/"
SOURCE = f"{BUCKET}/{TARGETS}source"
"""An object that a device may read, to copy."""

FOLDERS = {
    "its inbox": OWN_INBOX,
    "its status": OWN_STATUS,
    "`releases/metadata/`": f"{PREFIX}/releases/metadata/",
    "`releases/targets/`": TARGETS,
    "inbox of another": f"{PREFIX}/loops/{LOOP}/inbox/dev-2/",
    "inbox of one whose id begins as its own": f"{PREFIX}/loops/{LOOP}/inbox/{DEVICE}0/",
    "`inbox/` itself": f"{PREFIX}/loops/{LOOP}/inbox/",
    "status of another": f"{PREFIX}/loops/{LOOP}/status/dev-2.json",
    "status of one whose id begins as its own": f"{PREFIX}/loops/{LOOP}/status/{DEVICE}0.json",
    "`labels/`, a source of its name": f"{PREFIX}/loops/{LOOP}/labels/{DEVICE}/",
    "`escalations/`, its own": f"{PREFIX}/loops/{LOOP}/escalations/{DEVICE}/",
    "`answers/`, its own": f"{PREFIX}/loops/{LOOP}/answers/{DEVICE}/",
    "`quarantine/`, its own": f"{PREFIX}/loops/{LOOP}/quarantine/{DEVICE}/",
    "`lake/`": f"{PREFIX}/loops/{LOOP}/lake/events/",
    "`plans/`": f"{PREFIX}/loops/{LOOP}/plans/",
    "`trainings/`": f"{PREFIX}/loops/{LOOP}/trainings/000001/",
    "inbox of its name in another loop": f"{PREFIX}/loops/fan/inbox/{DEVICE}/",
    "status of its name in another loop": f"{PREFIX}/loops/fan/status/{DEVICE}.json",
    "the store's root": f"{PREFIX}/",
    "the bucket's root": "",
    "its inbox without the store's prefix": f"loops/{LOOP}/inbox/{DEVICE}/",
}


@dataclass
class Place:
    """Somewhere objects are, or a single one; `root` puts fresh ones there, each for one attempt."""

    name: str
    bucket: str
    folder: str
    root: User
    put: dict[str, str] = field(default_factory=dict)
    _numbers: count = field(default_factory=count)  # type: ignore[type-arg]

    def new(self) -> str:
        """Bucket and key of an object that is not there, if more than one can be."""
        return (
            f"{self.bucket}/{self.folder}{next(self._numbers):04}"
            if self._is_folder
            else f"{self.bucket}/{self.folder}"
        )

    def there(self) -> tuple[str, str]:
        """Bucket and key of an object that is there, and its version."""
        path = self.new()
        answer = self.root("PUT", path, body=b"a,b\n1,2\n")
        assert answer.status == 200, answer
        self.put[path] = answer.headers["ETag"]
        return path, answer.headers["x-amz-version-id"]

    def upload(self) -> tuple[str, dict[str, str], bytes]:
        """Bucket and key of an upload in parts that was begun, the query that names it, and what completes it."""
        path = self.new()
        begun = self.root("POST", path, {"uploads": ""})
        number = {
            "uploadId": next(e.text or "" for e in ElementTree.fromstring(begun.body) if e.tag.endswith("UploadId"))
        }
        part = self.root("PUT", path, {**number, "partNumber": "1"}, b"part").headers["ETag"]
        parts = f"<Part><PartNumber>1</PartNumber><ETag>{part}</ETag></Part>"
        return path, number, f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()

    @property
    def _is_folder(self) -> bool:
        return not self.folder or self.folder.endswith("/")


def places(root: User) -> list[Place]:
    """All of them; both buckets are made, and keep versions."""
    for bucket in (BUCKET, OTHER_BUCKET):
        root("PUT", bucket)
        kept = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        assert root("PUT", bucket, {"versioning": ""}, kept).status == 200
    assert root("PUT", SOURCE, body=b"signed").status == 200
    found = [Place(name, BUCKET, folder, root) for name, folder in FOLDERS.items()]
    return [*found, Place("its inbox in another bucket", OTHER_BUCKET, OWN_INBOX, root)]
