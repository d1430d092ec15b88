"""What the rollout gate is shown: how the candidate fares on devices, and both models on the same labelled rows."""

from __future__ import annotations

from collections.abc import Sequence

from assets.centre import Centre
from edgeloop.config import LoopConfig
from edgeloop.rollout import RolloutDocument
from edgeloop.roster import read_roster
from fleet.gate import Evidence, comparable
from fleet.releases import read_model, read_release
from training.paired import paired_comparison


def gather(centre: Centre, config: LoopConfig, document: RolloutDocument, looks: Sequence[Evidence]) -> Evidence:
    """The evidence for the next look at `document`, which must have a candidate, after the `looks` taken before.

    The rows are all labelled events since the candidate was made, which neither model was trained on.
    """
    assert document.candidate is not None
    candidate = read_release(centre.store, centre.keys, config.name, document.candidate.id).manifest
    champion = read_release(centre.store, centre.keys, config.name, document.stable.id).manifest
    paired = paired_comparison(
        centre.lake(config),
        config,
        read_model(centre.store, champion),
        read_model(centre.store, candidate),
        since=candidate.created,
        as_of=centre.clock(),
    )
    roster = read_roster(centre.store, config.layout).devices
    treated = [d for d in roster if document.arm(d) == "treated"]
    sha = document.candidate.sha256
    return Evidence(
        look=1 + sum(comparable(look, config.rollout) for look in looks),
        treated=len(treated),
        running=sum(roster[d].release == sha for d in treated),
        put_back={d: s.refused[sha] for d, s in roster.items() if sha in s.refused},
        rows=paired.rows,
        champion_accuracy=paired.champion_accuracy,
        candidate_accuracy=paired.candidate_accuracy,
        difference=paired.difference,
        low=paired.low,
        high=paired.high,
    )
