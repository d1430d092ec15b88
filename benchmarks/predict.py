"""Predict and record on a device, against the bare onnxruntime call, one row at a time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edge_runtime.releases import Release
from fleet.repository import refresh
from tests.site import fill_lake, make_site, readings

ROWS, ROUNDS, BATCH = 5_000, 5, 64


def quantiles(call: Callable[[int], object], calls: int = ROWS) -> tuple[float, float]:
    """Median and 99th percentile of a call, in µs; the best of several rounds, to shut out what else the machine does."""
    best = (float("inf"), float("inf"))
    for _ in range(ROUNDS):
        times = []
        for i in range(calls):
            began = time.perf_counter()
            call(i)
            times.append((time.perf_counter() - began) * 1e6)
        best = min(best, (float(np.median(times)), float(np.quantile(times, 0.99))))
    return best


def main() -> None:
    from assets.delivery import publish_newest, step_rollout
    from assets.learning import train_next

    with tempfile.TemporaryDirectory() as name:
        site = make_site(Path(name))
        fill_lake(site, 24 * 8)
        site.clock.now = site.clock.now.replace(day=9)
        refresh(site.store, site.centre.keys, site.clock.now)
        train_next(site.centre, site.config)
        publish_newest(site.centre, site.config)
        step_rollout(site.centre, site.config)
        rows = readings(ROWS)
        with site.open("bench") as device:
            device.poll()
            for row in rows[:50]:
                device.predict(row)
            release = device._running.release
            assert isinstance(release, Release)
            (path,) = (site.directory / "devices/bench/models").glob("*/model.onnx")
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            session = ort.InferenceSession(str(path), options)
            matrix = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
            floor = quantiles(lambda i: session.run(["probabilities"], {"features": matrix[i : i + 1]}))
            bound = quantiles(lambda i: release.model.probabilities(matrix[i]))
            ours = quantiles(lambda i: device.predict(rows[i]))
            row = quantiles(lambda i: device.predict(matrix[i]))
            batches = quantiles(lambda i: device.predict_many(matrix[i : i + BATCH]), ROWS - BATCH)
    print("one row, µs               p50      p99")
    print(f"session.run            {floor[0]:6.1f}   {floor[1]:6.1f}")
    print(f"by bound buffers       {bound[0]:6.1f}   {bound[1]:6.1f}")
    print(f"predict and record     {ours[0]:6.1f}   {ours[1]:6.1f}")
    print(f"the same from an array {row[0]:6.1f}   {row[1]:6.1f}")
    print(f"one of a batch of {BATCH}   {batches[0] / BATCH:6.1f}   {batches[1] / BATCH:6.1f}")
    print(f"ratio                  {ours[0] / floor[0]:6.2f}   {ours[1] / floor[1]:6.2f}")


if __name__ == "__main__":
    main()
