"""What reaches the devices: the release, the rollout, the fleet as it reports itself."""

# Without `from __future__ import annotations`: Dagster looks at the type of `context` itself.
from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from assets.centre import Centre, asset_prefix, loop_asset, loop_owners
from assets.evidence import gather
from assets.trainings import Training, newest_training, read_training
from edgeloop.config import LoopConfig
from edgeloop.errors import DataError
from edgeloop.rollout import RolloutDocument
from edgeloop.roster import read_roster
from fleet.gate import Decision, due, judge
from fleet.releases import (
    PublishedRelease,
    UnreadableRelease,
    list_releases,
    publish_release,
    read_release,
    withdraw_release,
)
from fleet.repository import in_turn
from fleet.rollouts import (
    conclude,
    highest_started,
    proven,
    publish_rollout,
    read_current,
    read_looks,
    record_decision,
    revoke,
    start,
)


def delivery_assets(config: LoopConfig) -> list[dg.AssetsDefinition]:
    """The assets of one loop's delivery."""
    prefix = asset_prefix(config)
    owners = loop_owners(config)

    # Each only where its key is: the two authorities may be two deployments, which look at the same store.
    # One step, so that the rollout is looked at also when there is no release: Dagster skips what is behind a missing output.
    @dg.multi_asset(
        name=f"{prefix}_deliver",
        specs=[
            loop_asset(
                config,
                "release",
                "delivery",
                "The newest challenger that passed, signed and published. Nothing happens if it did not pass.",
                {"tuf", "onnx"},
                ["validation"],
            ).replace_attributes(skippable=True),
            loop_asset(
                config,
                "rollout",
                "delivery",
                "Which cohort gets which release: started, judged, advanced or ended here, each decision a row in `decisions`.",
                {"tuf"},
                ["release", "events", "labels"],
            ),
        ],
        can_subset=True,
        pool="delta_writer",
    )
    def deliver(context: dg.AssetExecutionContext, centre: dg.ResourceParam[Centre]) -> Iterator[dg.MaterializeResult]:
        keys = {"release": "releases", "rollout": "rollouts"}
        names = {key.path[-1] for key in context.selected_asset_keys}
        names = {name for name in names if centre.keys.signs_for(keys[name])}
        training = publish_newest(centre, config) if "release" in names else None
        if training is not None:
            manifest = training.manifest
            yield dg.MaterializeResult(
                asset_key=[prefix, "release"],
                metadata={
                    "release": manifest.id,
                    "sha256": training.verdict.manifest_sha256,
                    "model bytes": len(training.model),
                    "accuracy": manifest.metrics.get("accuracy", 0.0),
                    "macro F1": manifest.metrics.get("macro_f1", 0.0),
                },
            )
        if "rollout" in names:
            yield _rollout_result(prefix, *step_rollout(centre, config))

    @dg.asset(
        key=[prefix, "fleet"],
        deps=[[prefix, "rollout"]],
        group_name="delivery",
        owners=owners,
        description="Every device as it reports itself.",
    )
    def fleet(centre: dg.ResourceParam[Centre]) -> dg.MaterializeResult:
        roster = read_roster(centre.store, config.layout)
        records = [
            dg.TableRecord(
                {
                    "device": s.device,
                    "release": s.release_id,
                    "update": s.update.state,
                    "spooled": s.spooled,
                    "seen": s.time.isoformat(),
                }
            )
            for s in roster.devices.values()
        ]
        return dg.MaterializeResult(
            metadata={
                "devices": len(records),
                "unreadable": len(roster.unreadable),
                "on probation": sum(s.on_probation for s in roster.devices.values()),
                **({"table": dg.MetadataValue.table(records[:200])} if records else {}),
            }
        )

    return [deliver, fleet]


def _rollout_result(prefix: str, document: RolloutDocument | None, decision: Decision | None) -> dg.MaterializeResult:
    found: dict[str, str | int] = {"note": "no release yet"}
    if document is not None:
        found = {
            "rollout": document.number,
            "stable": document.stable.id,
            "candidate": document.candidate.id if document.candidate else "none",
            "wave": f"{document.waves[document.wave]} of 10000" if document.candidate else "everyone",
            "verdict": decision.verdict if decision else document.verdict,
            "reason": decision.reason if decision else document.reason,
        }
    return dg.MaterializeResult(asset_key=[prefix, "rollout"], metadata=found)


def publish_newest(centre: Centre, config: LoopConfig) -> Training | None:
    """Publish the newest challenger if it passed and is not published yet; what was published, or None."""
    number = newest_training(centre.store, config.layout)
    published = list_releases(centre.store, centre.keys, config.name)
    if number is None or any(r.manifest.counter == number for r in published):
        return None
    training = read_training(centre.store, config.layout, number)
    if not training.verdict.passed:
        return None
    current = read_current(centre.store, centre.keys, config.name)
    if current is not None and current.forbids(number, training.verdict.manifest_sha256):
        return None
    keep = frozenset(r.id for r in (current.stable, current.candidate) if r) if current else frozenset()
    files = (
        training.manifest_bytes,
        {a.target: training.model for a in training.manifest.models},
        training.verdict_bytes,
    )
    in_turn(lambda: publish_release(centre.store, centre.keys, *files, keep, centre.clock()))
    return training


def revoke_release(centre: Centre, config: LoopConfig, ident: str, reason: str, to: str = "") -> RolloutDocument | None:
    """Nobody gets the release `ident` any more, and who runs it leaves it: as far as the keys here reach.

    The rollout first, so that what it names is always signed; then the signature of `releases` is withdrawn.

    Args:
        to: what to go back to, if everybody has it; else the newest release before it that was promoted and never taken back.

    Raises:
        DataError: there is no such release, nothing to go back to, or, without the `rollouts` key, it is still named.
        ConfigError: neither key is here.
    """
    try:
        release = read_release(centre.store, centre.keys, config.name, ident)
    except UnreadableRelease as error:  # no device can take it either: its signature is all that there is to take back
        if error.ident != ident:
            raise
        in_turn(lambda: withdraw_release(centre.store, centre.keys, config.name, ident, centre.clock()))
        return read_current(centre.store, centre.keys, config.name)
    if centre.keys.signs_for("rollouts"):
        in_turn(lambda: _forbid(centre, config, release, reason, to))
    document = read_current(centre.store, centre.keys, config.name)
    if document is None or not document.forbids(release.manifest.counter, release.sha256):
        raise DataError(f"the rollout still allows {ident}.", remedy="Revoke it where the `rollouts` key is first.")
    if centre.keys.signs_for("releases"):
        in_turn(lambda: withdraw_release(centre.store, centre.keys, config.name, release.manifest.id, centre.clock()))
    return document


def _forbid(centre: Centre, config: LoopConfig, release: PublishedRelease, reason: str, to: str) -> None:
    now, lake = centre.clock(), centre.lake(config)
    current = read_current(centre.store, centre.keys, config.name)
    if current is None or current.forbids(release.manifest.counter, release.sha256):
        return
    releases = list_releases(centre.store, centre.keys, config.name)
    good = {read_release(centre.store, centre.keys, config.name, to).sha256} if to else proven(lake)
    before = [
        found.ref
        for found in releases
        if found.sha256 in good - {release.sha256}
        and (to or found.manifest.counter < release.manifest.counter)
        and not current.forbids(found.manifest.counter, found.sha256)
    ]
    document = revoke(current, release.ref, before[-1] if before else None, reason, now)
    record_decision(lake, current, Decision("aborted", document.reason), None, now, subject=release.ref)
    publish_rollout(centre.store, centre.keys, document, now, based_on=current)


def step_rollout(centre: Centre, config: LoopConfig) -> tuple[RolloutDocument | None, Decision | None]:
    """Take the rollout one step: start one for a release that has none, else look at the one under way.

    Returns:
        The document in force now (None before the first release), and the decision taken, if one was.
    """
    return in_turn(lambda: _step(centre, config))


def _step(centre: Centre, config: LoopConfig) -> tuple[RolloutDocument | None, Decision | None]:
    current = read_current(centre.store, centre.keys, config.name)
    if current is not None and current.paused:
        return current, None
    releases = list_releases(centre.store, centre.keys, config.name)
    if releases and releases[-1].manifest.counter > highest_started(centre.lake(config), current):
        return _start(centre, config, current, releases[-1])
    if current is None or current.candidate is None:
        return current, None
    return _look(centre, config, current)


def _start(
    centre: Centre, config: LoopConfig, current: RolloutDocument | None, release: PublishedRelease
) -> tuple[RolloutDocument, Decision]:
    now, lake = centre.clock(), centre.lake(config)
    if current is not None and current.candidate is not None:
        superseded = Decision("hold", f"superseded by {release.manifest.id} before it was settled")
        record_decision(lake, current, superseded, None, now)
    devices = sorted(read_roster(centre.store, config.layout).devices)
    document = start(current, release, config.rollout, devices, now)
    decision = Decision(document.verdict, document.reason)
    record_decision(lake, document, decision, None, now)
    publish_rollout(centre.store, centre.keys, document, now, based_on=current)
    return document, decision


def _look(centre: Centre, config: LoopConfig, current: RolloutDocument) -> tuple[RolloutDocument, Decision | None]:
    now, lake = centre.clock(), centre.lake(config)
    seen = read_looks(lake, current)
    evidence = gather(centre, config, current, seen)
    # Nothing came since: the same look again, in case its verdict was recorded and, for a crash, not published.
    again = bool(seen) and replace(seen[-1], look=evidence.look) == evidence
    if not again and not due(evidence, seen, config.rollout):
        return current, None
    evidence = seen[-1] if again else evidence
    decision = judge(evidence, config.rollout)
    document = conclude(current, decision, now)
    if not again:
        record_decision(lake, current, decision, evidence, now)
    if decision.verdict != "hold" or current.verdict != "hold":  # devices need not fetch a new reason to wait
        publish_rollout(centre.store, centre.keys, document, now, based_on=current)
    return document, decision
