"""The end of a plan: what was rejected goes to quarantine, what is in the lake goes from where it waited."""

from __future__ import annotations

from collections.abc import Set

from edgeloop.errors import NotFound
from edgeloop.layout import Layout
from edgeloop.store import Store
from ingest.plan import AcceptedLabels, Plan, Rejected
from ingest.quarantine import hold


def finish(store: Store, layout: Layout, plan: Plan, taken: Set[str]) -> None:
    """Clear away what the plan is about. May be repeated. Raises `StoreError`.

    Args:
        taken: digests of the batches that are in the lake. No other goes, whatever the plan says; of those the digest in the name
            says which object was meant.
    """
    rejected = [bad for bad in (*plan.rejected, *plan.rejected_labels) if _is_there(store, bad)]
    for bad in rejected:
        hold(store, layout, bad)
    ingested = (batch.path for batch in plan.batches if batch.sha256 in taken)
    labels = (file.path for file in plan.labels if _is_there(store, file))
    store.delete_all([*(bad.path for bad in rejected), *plan.duplicates, *ingested, *labels])


def _is_there(store: Store, planned: Rejected | AcceptedLabels) -> bool:
    """Whether the object is there, and is the one that was looked at: its name may have been used again."""
    try:
        return planned.version in ("", store.look_up(planned.path).version)
    except NotFound:
        return False
