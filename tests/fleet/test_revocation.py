"""A release taken out for ever: who has it leaves it, and neither a thief, a person at the device nor the loop itself brings it back."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tuf.api.metadata import TargetFile, Targets

from assets.delivery import publish_newest, revoke_release, step_rollout
from edgeloop.errors import DataError, RefusedError
from edgeloop.rollout import RolloutDocument, decode_rollout
from fleet.releases import list_releases
from fleet.repository import publish
from fleet.rollouts import publish_rollout, read_current
from tests.integration.test_trust import poll, release, release_to_everyone
from tests.site import Site, fill_lake, make_site, pass_probation


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Everybody runs r0002, and has r0001 kept."""
    site = make_site(tmp_path)
    fill_lake(site, 24 * 14)
    release(site, 8)
    pass_probation(site)
    release_to_everyone(site, 9)
    pass_probation(site)
    return site


def current(site: Site) -> RolloutDocument:
    found = read_current(site.store, site.keys, "pump")
    assert found
    return found


def revoked(site: Site, ident: str, reason: str) -> RolloutDocument:
    found = revoke_release(site.centre, site.config, ident, reason)
    assert found
    return found


def live(site: Site) -> list[str]:
    return [found.manifest.id for found in list_releases(site.store, site.keys, "pump")]


def test_a_bad_release_that_everybody_has_is_left_and_never_comes_back(site: Site) -> None:
    bad = current(site).stable
    assert bad.id == "r0002"
    document = revoked(site, "r0002", "it is blind at night")
    assert (document.stable.id, document.revoked, document.floor) == ("r0001", (bad,), 0)
    assert document.reason == "r0002 was revoked: it is blind at night"
    assert poll(site)[::2] == ("rolled-back", "r0001")
    with site.open("dev") as device, pytest.raises(RefusedError, match="to go back to, was revoked"):
        device.way_back()
    assert live(site) == ["r0001"]
    assert publish_newest(site.centre, site.config) is None  # its training still is the newest
    step_rollout(site.centre, site.config)
    assert current(site) == document

    thief = msgspec.structs.replace(document, stable=bad, revoked=(), number=document.number + 1)
    publish_rollout(site.store, site.keys, thief, site.clock.now, based_on=document)
    state, reason, running = poll(site)
    assert (state, running) == ("refused-target", "r0001")
    assert "`releases` does not sign" in reason
    publish_rollout(site.store, site.keys, document, site.clock.now, based_on=thief)

    release_to_everyone(site, 11)  # with a better one in force, the floor says it in the place of the list
    assert (current(site).stable.id, current(site).floor, current(site).revoked) == ("r0003", 3, ())
    pass_probation(site)
    with site.open("dev") as device, pytest.raises(RefusedError, match="under the rollout's floor of 3"):
        device.way_back()  # to r0001, which the floor shuts out too


def test_a_candidate_that_is_revoked_ends_its_rollout(site: Site) -> None:
    release(site, 11)
    assert current(site).candidate
    document = revoked(site, "r0003", "bad")
    assert (document.stable.id, document.candidate, document.verdict) == ("r0002", None, "aborted")
    assert live(site) == ["r0001", "r0002"]


def test_an_old_release_goes_under_the_floor_and_nobody_notices(site: Site) -> None:
    document = revoked(site, "r0001", "old")
    assert (document.stable.id, document.floor, document.revoked) == ("r0002", 2, ())
    assert poll(site)[::2] == ("up-to-date", "r0002")
    with pytest.raises(DataError, match="no release before it"):
        revoke_release(site.centre, site.config, "r0002", "the last one")


def test_the_authority_over_releases_waits_for_the_one_over_rollouts(site: Site) -> None:
    online = site.directory / "keys/online"
    for name in ("rollouts.pem", "rollouts.pub"):
        (online / name).rename(site.directory / name)
    site.centre.keys._signers.clear()
    with pytest.raises(DataError, match="still allows r0001"):
        revoke_release(site.centre, site.config, "r0001", "old")
    assert live(site) == ["r0001", "r0002"]
    for name in ("rollouts.pem", "rollouts.pub"):
        (site.directory / name).rename(online / name)
    (online / "releases.pem").rename(site.directory / "releases.pem")
    revoke_release(site.centre, site.config, "r0001", "old")
    assert live(site) == ["r0001", "r0002"]
    (site.directory / "releases.pem").rename(online / "releases.pem")
    revoke_release(site.centre, site.config, "r0001", "old")
    assert live(site) == ["r0002"]


def test_what_a_thief_signed_as_a_release_and_is_none_is_taken_back(site: Site) -> None:
    """It is signed again when its key is replaced, and everything that looks at releases stops at it: loudly, until it is gone."""

    def change(targets: Targets) -> None:
        for name in ("r0666.json", "r0666.onnx"):
            targets.targets[f"models/pump/{name}"] = TargetFile.from_data(f"models/pump/{name}", b"{}", ["sha256"])

    publish(site.store, site.keys, "releases", change, {}, site.clock.now)
    with pytest.raises(DataError, match="r0666 is signed, and its manifest is not in the store"):
        publish_newest(site.centre, site.config)
    before = current(site)
    assert revoke_release(site.centre, site.config, "r0666", "nobody trained it") == before
    assert live(site) == ["r0001", "r0002"]


def test_documents_from_before_releases_could_be_revoked_are_read(site: Site) -> None:
    document = current(site)
    found = msgspec.json.decode(document.encode())
    del found["revoked"]
    assert decode_rollout(msgspec.json.encode(found)) == document
