from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.config import Rollout
from fleet.gate import Evidence, due, judge
from fleet.releases import PublishedRelease
from fleet.rollouts import conclude, start
from tests.edgeloop.test_formats import rollout
from tests.site import START

RULES = Rollout(min_labels=100, margin=0.01, max_looks=3)
CLEAR = Evidence(1, 3, 3, {}, 500, 0.70, 0.75, 0.05, 0.02, 0.08)


def verdict(**changes: object) -> str:
    return judge(Evidence(**{**CLEAR.__dict__, **changes}), RULES).verdict  # type: ignore[arg-type]


def test_the_rules_in_their_order() -> None:
    assert verdict() == "promote"
    assert verdict(put_back={"d1": "crash loop"}) == "reject"
    assert verdict(put_back={"d1": "crash loop"}, rows=0, running=0) == "reject"
    assert verdict(running=0) == "hold"
    assert verdict(rows=99) == "hold"
    assert verdict(difference=-0.05, low=-0.08, high=-0.01) == "reject"
    assert verdict(difference=0.001, low=-0.009, high=0.02) == "promote"
    assert verdict(difference=0.001, low=-0.02, high=0.02) == "hold"
    assert verdict(difference=-0.001, low=-0.005, high=0.002) == "hold"
    assert verdict(difference=-0.001, low=-0.005, high=0.002, look=3) == "reject"


def test_the_next_look_is_due_with_a_quarter_more_rows_whatever_the_time() -> None:
    def look(**changes: object) -> Evidence:
        return Evidence(**{**CLEAR.__dict__, **changes})  # type: ignore[arg-type]

    early, first = look(rows=10), look(rows=1000)
    assert due(early, [], RULES)
    assert not due(look(rows=20), [early], RULES)
    assert due(first, [early], RULES)
    assert not due(look(rows=1249), [early, first], RULES)
    assert due(look(rows=1250), [early, first], RULES)
    assert due(look(rows=1001, put_back={"d": "NaN"}), [early, first], RULES)


@given(st.integers(0, 20), st.integers(0, 99), st.floats(-1, 1), st.floats(0, 0.5))
def test_no_data_never_promotes(running: int, rows: int, difference: float, width: float) -> None:
    found = verdict(running=running, rows=rows, difference=difference, low=difference - width, high=difference + width)
    assert found in ("hold", "reject")


def test_waves_widen_one_by_one_and_a_reject_takes_everybody_back() -> None:
    from fleet.gate import Decision

    document = rollout(waves=(1000, 5000, 10000))
    promoted = conclude(document, Decision("promote", "good"), START)
    assert (promoted.wave, promoted.verdict, promoted.candidate) == (1, "running", document.candidate)
    everywhere = conclude(promoted, Decision("promote", "good"), START)
    assert (everywhere.stable, everywhere.candidate, everywhere.verdict) == (document.candidate, None, "promote")
    back = conclude(promoted, Decision("reject", "bad"), START)
    assert (back.stable, back.candidate) == (document.stable, None)
    assert {back.assigned(f"d{i}") for i in range(100)} == {document.stable}


def test_in_a_small_fleet_the_first_wave_holds_somebody_and_leaves_somebody_out() -> None:
    from edgeloop.manifest import Golden, Lineage, ReleaseManifest
    from edgeloop.schema import Feature, FeatureSchema

    lineage = Lineage(1, 0, 0, "", "", 0, 0, START, START, "", {}, "")
    base = ReleaseManifest(
        1,
        "pump",
        "r0004",
        4,
        START,
        FeatureSchema((Feature("a"),)),
        ("x", "y"),
        (),
        Golden((), (), 0.0),
        1.0,
        lineage,
        {},
        {},
    )
    for counter in range(30):
        manifest = msgspec.structs.replace(base, counter=counter)
        published = PublishedRelease(manifest, manifest.sha256)
        document = start(rollout(candidate=None), published, Rollout(), ["one", "two"], START)
        assert {document.arm(d) for d in ("one", "two")} >= {"treated"}
        assert document.assigned("one") != document.assigned("two")
        assert start(rollout(candidate=None), published, Rollout(), ["alone"], START).arm("alone") == "treated"
    assert start(None, PublishedRelease(base, base.sha256), Rollout(), [], START).verdict == "promote"
