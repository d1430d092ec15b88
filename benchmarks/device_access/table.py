"""The tries themselves, and what came of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from benchmarks.device_access.asking import Answer, User
from benchmarks.device_access.places import (
    BUCKET,
    DEVICE,
    LOOP,
    OTHER_BUCKET,
    OWN_INBOX,
    OWN_STATUS,
    PREFIX,
    SOURCE,
    Place,
    places,
)
from benchmarks.device_access.verbs import OF_BUCKETS, OF_OBJECTS, OF_THE_SERVER
from fleet.access import new_secret, open_access

BUCKETS = {"the bucket": BUCKET, "another bucket": OTHER_BUCKET}
TEMPORARY = "the server, by temporary credentials"
_Answers = dict[str, Answer]


@dataclass(frozen=True)
class Row:
    """What of a place is allowed, and how many other verbs are denied."""

    place: str
    allowed: tuple[str, ...]
    denied: int


@dataclass(frozen=True)
class Table:
    """What a device's credentials open; nothing is lacking in it if `unclear` and `changed` are empty.

    `unknown` are verbs that the server does not know, so that its no means nothing; `unclear` are answers that are neither yes nor no;
    `changed` is what came, went or became another where nothing may.
    """

    rows: list[Row]
    unknown: tuple[str, ...]
    unclear: tuple[str, ...]
    changed: tuple[str, ...]


def try_everything(device: User, root: User, *, minio: bool = True) -> Table:
    """Try every verb on every place as `device`; then as `root`, to see which of them the server knows.

    Args:
        minio: with what is MinIO's own, of the server itself.
    """
    found = places(root)
    before = _there(root)
    said: dict[str, _Answers] = {
        place.name: {verb: attempt(device, place) for verb, attempt in OF_OBJECTS.items()} for place in found
    }
    said |= {
        name: {verb: attempt(device, bucket) for verb, attempt in OF_BUCKETS.items()}
        for name, bucket in BUCKETS.items()
    }
    if minio:
        said["the server"] = {verb: attempt(device) for verb, attempt in OF_THE_SERVER.items()}
        temporary = device.temporary()  # after what ended all of them
        assert temporary("GET", SOURCE).status == 200
        said[TEMPORARY] = {verb: attempt(temporary) for verb, attempt in OF_THE_SERVER.items()}
    changed = tuple(_changed(before | {path: tag for place in found for path, tag in place.put.items()}, _there(root)))
    return _judged(said, _unknown(root, minio=minio), changed)


def on_minio() -> Table:
    """The table of the MinIO that the environment reaches as its administrator, with a device that is enrolled there."""
    access, endpoint = open_access(f"s3://{BUCKET}/{PREFIX}"), os.environ["AWS_ENDPOINT_URL"]
    secret = new_secret()
    for device in (DEVICE, "dev-2"):
        access.enrol(device, LOOP, secret)
    root = User(endpoint, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    return try_everything(User(endpoint, DEVICE, secret), root)


def markdown(found: Table) -> str:
    """The rows as they stand in docs/stores.md."""
    rows = [f"| {row.place} | {', '.join(row.allowed) or 'nothing'} | {row.denied} |" for row in found.rows]
    return "\n".join(["| where | allowed | denied |", "| --- | --- | --- |", *rows]) + "\n"


def _judged(said: dict[str, _Answers], unknown: dict[str, set[str]], changed: tuple[str, ...]) -> Table:
    rows, unclear = [], []
    for place, answers in said.items():
        lacking = unknown.get(place, unknown["objects"])
        known = {verb: answer for verb, answer in answers.items() if verb not in lacking}
        denied = [verb for verb, answer in known.items() if answer.denied]
        unclear += [f"{verb} of {place}: {answer.status}" for verb, answer in known.items() if answer.absent]
        rows.append(Row(place, tuple(verb for verb in known if verb not in denied), len(denied)))
    names = {f"{verb} ({place})" for place, verbs in unknown.items() for verb in verbs}
    return Table(rows, tuple(sorted(names)), tuple(unclear), changed)


def _unknown(root: User, *, minio: bool) -> dict[str, set[str]]:
    """Verbs that nobody can use here, of each kind of place. Last of all: it changes what they change."""
    control = Place("", OTHER_BUCKET, "control/", root)
    answers: dict[str, _Answers] = {"objects": {verb: attempt(root, control) for verb, attempt in OF_OBJECTS.items()}}
    of_bucket = {verb: attempt(root, OTHER_BUCKET) for verb, attempt in OF_BUCKETS.items()}
    answers |= dict.fromkeys(BUCKETS, of_bucket)
    if minio:
        of_server = {verb: attempt(root) for verb, attempt in OF_THE_SERVER.items()}
        answers |= dict.fromkeys(("the server", TEMPORARY), of_server)
    return {
        place: {verb for verb, answer in said.items() if answer.absent or answer.denied}
        for place, said in answers.items()
    }


def _changed(expected: dict[str, str], there: dict[str, str]) -> Iterator[str]:
    """What is not as expected, but for the device's own."""
    own = (f"{BUCKET}/{OWN_INBOX}", f"{BUCKET}/{OWN_STATUS}")
    for path in sorted(expected.keys() | there.keys()):
        if not path.startswith(own) and expected.get(path) != there.get(path):
            yield f"{path} is {there.get(path, 'gone')}, was {expected.get(path, 'not there')}"


def _there(root: User) -> dict[str, str]:
    """Every object of both buckets, and which it is."""
    return {f"{bucket}/{key}": tag for bucket in BUCKETS.values() for key, tag in _listing(root, bucket)}


def _listing(root: User, bucket: str) -> Iterator[tuple[str, str]]:
    after = ""
    while True:
        listed = ElementTree.fromstring(root("GET", bucket, {"list-type": "2", "start-after": after}).body)
        contents = [{e.tag.rpartition("}")[2]: e.text or "" for e in c} for c in listed if c.tag.endswith("Contents")]
        yield from ((found["Key"], found["ETag"]) for found in contents)
        if not contents:
            return
        after = contents[-1]["Key"]
