"""What `edgeloop fleet init` does to a bucket, and how it is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgeloop.cli.output import table
from edgeloop.config import read_loop
from edgeloop.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from rich.table import Table

    from fleet.provision import Step


def provision_store(store: str, loops: list[Path], quota_gb: float | None, *, dry_run: bool) -> list[Step]:
    """Give the bucket of `store` what it lacks, or only say what that is; nothing, if the store is in none.

    Raises:
        ConfigError: a quota is wanted of what is no bucket.
        StoreError: the store cannot be asked, or not with these credentials.
    """
    names = tuple(read_loop(loop).name for loop in loops)
    if urlsplit(store).scheme != "s3":
        if quota_gb is not None:
            raise ConfigError(f"{store} is no bucket, and has no quota.", remedy="Leave --quota-gb out.")
        return []
    from fleet.bucket import open_bucket
    from fleet.provision import items, plan, provision

    bucket, prefix = open_bucket(store)
    wanted = items(bucket.name, prefix, names, None if quota_gb is None else round(quota_gb * 1e9))
    steps = (plan if dry_run else provision)(bucket, wanted)
    if steps[0].action == "denied":
        demand_allowed(steps)  # who cannot have the bucket gets no keys either
    return steps


def show_steps(steps: list[Step], *, dry_run: bool) -> Table:
    """The steps as a table."""
    rows = [(step.action, step.kind, step.name, step.says) for step in steps]
    done = all(step.action in ("keep", "unsupported") for step in steps)
    title = "nothing to change in the bucket" if done else "what would be done" if dry_run else "what was done"
    return table(title, ("", "what", "where", "says"), rows)


def demand_allowed(steps: list[Step]) -> None:
    """Raises `StoreError`: the credentials do not allow some of the steps."""
    denied = [step for step in steps if step.action == "denied"]
    if denied:
        what = ", ".join(f"{step.kind} {step.name}".strip() for step in denied)
        reasons = " ".join(dict.fromkeys(step.says for step in denied))
        raise StoreError(
            f"the credentials do not allow: {what}. {reasons[0].upper()}{reasons[1:]}",
            remedy="Run it again with an administrator's, or have it done by whom the store belongs to; all else is as wanted.",
        )
