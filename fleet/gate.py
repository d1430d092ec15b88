"""The rollout's gate: from evidence to a verdict, with no clock and no store.

Rules, in their order:
1. A device that put the candidate back (crash loop, NaN, golden disagreement, latency) rejects it at once.
2. Nobody runs it yet, or too few labelled rows: hold. No data never promotes.
3. The whole interval of the difference lies under zero: reject.
4. The candidate is not worse than the champion (best guess) and the interval excludes a loss over the margin: promote.
5. Otherwise hold and look again; after the last look the champion stays. A look at which rule 2 held does not count.

Looks are spaced by what there is to see, not by the clock: after one that counted the next is due with `GROWTH` times its rows,
or a busy fleet would have used up `max_looks` on the first minutes of a candidate.

The difference is candidate minus champion in accuracy, both replayed on the *same* labelled rows that came after the
candidate was trained, its interval from blocks of (device, day): rows of a device within a day are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeloop.config import Rollout
from edgeloop.rollout import Verdict

GROWTH = 1.25


@dataclass(frozen=True)
class Evidence:
    """What is known at a look, the `look`-th that had enough to compare by. Shares are of rows, 0 to 1; `low` and `high` bound
    `difference`."""

    look: int
    treated: int
    running: int
    put_back: dict[str, str]
    rows: int
    champion_accuracy: float
    candidate_accuracy: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Decision:
    """A verdict and the sentence that explains it."""

    verdict: Verdict
    reason: str


def comparable(evidence: Evidence, rules: Rollout) -> bool:
    """Whether there is enough to compare the two by; only then a look is one of `max_looks`."""
    return evidence.running > 0 and evidence.rows >= rules.min_labels


def due(evidence: Evidence, seen: Sequence[Evidence], rules: Rollout) -> bool:
    """Whether `evidence` is a look to be taken, after those that were `seen` at this rollout, oldest first."""
    counted = [look for look in seen if comparable(look, rules)]
    if evidence.put_back or not seen:
        return True
    return comparable(evidence, rules) and (not counted or evidence.rows >= GROWTH * counted[-1].rows)


def judge(evidence: Evidence, rules: Rollout) -> Decision:
    """Decide on one look; see the module's rules."""
    if evidence.put_back:
        device, why = sorted(evidence.put_back.items())[0]
        return Decision("reject", f"{len(evidence.put_back)} device(s) put it back; {device}: {why}")
    if not evidence.running:
        return Decision("hold", f"none of {evidence.treated} treated devices reports running it yet")
    if evidence.rows < rules.min_labels:
        return Decision("hold", f"{evidence.rows} labelled rows of the {rules.min_labels} needed")
    return _compare(evidence, rules)


def _compare(evidence: Evidence, rules: Rollout) -> Decision:
    numbers = (
        f"accuracy {evidence.candidate_accuracy:.3f} against {evidence.champion_accuracy:.3f} on the same"
        f" {evidence.rows} rows, difference {evidence.difference:+.3f} ({evidence.low:+.3f} to {evidence.high:+.3f})"
    )
    if evidence.high < 0:
        return Decision("reject", f"worse than the champion: {numbers}")
    if evidence.difference >= 0 and evidence.low > -rules.margin:
        return Decision("promote", f"not worse than the champion: {numbers}")
    if evidence.look >= rules.max_looks:
        return Decision("reject", f"undecided after {evidence.look} looks, the champion stays: {numbers}")
    return Decision("hold", f"not settled at look {evidence.look} of {rules.max_looks}: {numbers}")
