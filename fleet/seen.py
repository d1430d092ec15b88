"""What a publisher has seen published: nobody who can write to the bucket makes it carry forward, under a new signature, what is older.

A device refuses versions that fall; but a number that a publisher gives to old contents is a new one. So each key directory has a
`seen.json` with the versions that were read or written last, and the ids of the keys that signed for the moment. They count for as long as
these keys are in force: other ones begin anew, as for a device (The Update Framework specification 1.0, section 5.3.11).
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from edgeloop.errors import TrustError
from fleet.keys import Keys
from fleet.metadata import Published


class Seen(msgspec.Struct, frozen=True):
    """Versions by role, and who signed for timestamp and snapshot."""

    signed_by: tuple[str, ...]
    versions: dict[str, int]


def demand_no_older(keys: Keys, published: Published) -> None:
    """Raises `TrustError`: a version is lower than one that was seen with these keys."""
    now, before = _seen(published), _remembered(keys)
    if before is None or before.signed_by != now.signed_by:
        return
    for role, version in before.versions.items():
        if now.versions.get(role, 0) < version:
            raise TrustError(
                f"{role} in the store is version {now.versions.get(role, 0)}, and {version} was published before: somebody put it back.",
                remedy="Put back the newest timestamp.json that the bucket keeps, or begin anew from what is there: "
                "`edgeloop fleet keys rotate snapshot timestamp`.",
            )


def note_seen(keys: Keys, published: Published) -> None:
    """Remember what is published now, where the key directory can be written."""
    path, now = keys.directory / "seen.json", _seen(published)
    if keys.directory.is_dir() and now != _remembered(keys):  # who only reads has it written only where it is news
        with suppress(OSError):
            part = path.with_suffix(".part")
            part.write_bytes(msgspec.json.encode(now))
            part.replace(path)


def _seen(published: Published) -> Seen:
    roles = published.root.roles
    meta = {name.removesuffix(".json"): found.version for name, found in published.snapshot.meta.items()}
    own = {"timestamp": published.timestamp.version, "snapshot": published.snapshot.version}
    return Seen(tuple(sorted({*roles["timestamp"].keyids, *roles["snapshot"].keyids})), {**meta, **own})


def _remembered(keys: Keys) -> Seen | None:
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((keys.directory / "seen.json").read_bytes(), type=Seen)
    return None
