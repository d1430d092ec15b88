"""The campaign: devices that are killed side by side, a centre at work meanwhile, and the books at the end."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.device_faults.centre import Offers, offer, prepare, take_in
from benchmarks.device_faults.findings import Findings
from benchmarks.device_faults.victim import Victim
from ingest.run import ingest


def campaign(directory: Path, kills: int, seed: int = 0) -> Findings:
    """Kill two devices `kills` times in all, one that writes each event by itself and one that writes groups."""
    site = prepare(directory)
    offers = Offers(site)
    offers.next()
    victims = [Victim(site, durability, offers.signed) for durability in ("event", "group")]
    began, done = time.perf_counter(), threading.Event()
    with ThreadPoolExecutor(4) as threads:
        centre = [threads.submit(offer, offers, done), threads.submit(take_in, site, done)]
        try:
            list(threads.map(partial(_kill, seed), victims, (kills // 2, kills - kills // 2)))
        finally:
            done.set()
        for work in centre:
            work.result()
    found = Findings(time.perf_counter() - began, offers.made)
    for victim in victims:
        victim.live(0.2)
    ingest(site.store, site.lake, site.config, site.clock())
    for victim in victims:
        found.add(site, victim)
    return found


def _kill(seed: int, victim: Victim, times: int) -> None:
    draw = random.Random(f"{seed} {victim.name}")
    for _ in range(times):
        victim.kill(draw)
