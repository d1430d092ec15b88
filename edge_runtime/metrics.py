"""What a device says to Prometheus, as OpenMetrics text: over HTTP to this machine alone, or in a file for node_exporter.

Names and units: https://prometheus.io/docs/practices/naming. Counters of events begin anew with each epoch, the latencies and
the readings that were skipped with each process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from edge_runtime.device import Device
from edge_runtime.pulse import Pulse
from edgeloop.status import DeviceStatus

STUCK = 30.0
"""Seconds after which a reading that is still in hand is a loop that hangs."""

QUANTILES = (0.5, 0.9, 0.99)


class Metrics(Collector):
    """The figures of one device and the loop that predicts on it, as they are when they are asked for."""

    def __init__(self, device: Device, pulse: Pulse) -> None:
        self._device, self._pulse = device, pulse
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand, so that nobody is asked before the first time."""
        return ()

    def collect(self) -> Iterator[Metric]:
        status = self._device.status()
        yield from _books(status)
        yield from _state(status, self.sickness())
        yield from _loop(self._pulse)

    def text(self) -> bytes:
        """All of it, in OpenMetrics."""
        return bytes(generate_latest(self._registry))  # type: ignore[no-untyped-call]

    def sickness(self) -> str:
        """Why the device is not well; empty if it is. Waits for nothing, so that it can be asked of a loop that hangs."""
        stuck = self._pulse.stuck
        return f"a prediction has been going on for {stuck:.0f} s" if stuck > STUCK else self._device.fault

    def write(self, path: Path) -> None:
        """Put the text into the place of `path`, whole. Raises `OSError`."""
        beside = path.with_name(path.name + ".part")
        beside.write_bytes(self.text())
        beside.replace(path)


def _books(status: DeviceStatus) -> Iterator[Metric]:
    for name, meaning, count in (
        ("produced", "Events that got a number in this epoch", status.produced),
        ("acknowledged", "Events that are in the store", status.acked),
        ("shed", "Events dropped for want of disk", status.shed),
    ):
        yield CounterMetricFamily(f"edgeloop_events_{name}", f"{meaning}.", count)
    yield GaugeMetricFamily("edgeloop_events_spooled", "Events that wait on the device's disk.", status.spooled)
    for name, count in (("uploaded", status.uploaded_bytes), ("downloaded", status.downloaded_bytes)):
        yield CounterMetricFamily(
            f"edgeloop_{name}_bytes", f"Bytes {name}, of batches or releases.", count, unit="bytes"
        )
    invalid = CounterMetricFamily(
        "edgeloop_invalid_values", "Values that came and were none, or out of range.", labels=["feature"]
    )
    for feature, count in status.invalid.items():
        invalid.add_metric([feature], count)
    yield invalid
    treated = CounterMetricFamily(
        "edgeloop_treated_values", "Bad values by what was done.", labels=["feature", "action"]
    )
    for action in ("imputed", "clamped", "rejected"):
        for feature, count in getattr(status, action).items():
            treated.add_metric([feature, action], count)
    yield treated


def _state(status: DeviceStatus, sickness: str) -> Iterator[Metric]:
    named = {name: getattr(status, name) for name in ("loop", "device", "release", "release_id", "runtime")}
    yield InfoMetricFamily("edgeloop_device", "What runs here.", {**named, "update": status.update.state})
    for name, meaning, value in (
        ("healthy", "1 while /healthz says so", float(not sickness)),
        ("epoch", "Rises when the device loses its state", status.epoch),
        ("on_probation", "1 while a release is on probation", float(status.on_probation)),
        ("refused_releases", "Releases that this device does not try again", len(status.refused)),
        ("stale", "1 if metadata was verified longer ago than the rollout allows", float(status.stale)),
    ):
        yield GaugeMetricFamily(f"edgeloop_{name}", f"{meaning}.", value)
    for name, meaning, at in (
        ("last_event", "When the last event was measured", status.last_event),
        ("verified", "When release metadata was verified last", status.verified_at),
    ):
        if at:
            name = f"edgeloop_{name}_timestamp_seconds"
            yield GaugeMetricFamily(name, f"{meaning}.", at.timestamp(), unit="seconds")


def _loop(pulse: Pulse) -> Iterator[Metric]:
    yield CounterMetricFamily("edgeloop_readings_skipped", "What came and was no reading.", pulse.skipped)
    latency = Metric(
        "edgeloop_prediction_seconds", "From a reading to its answer; quantiles are recent.", "summary", "seconds"
    )
    for share, seconds in zip(QUANTILES, pulse.quantiles(*QUANTILES), strict=False):
        latency.add_sample(latency.name, {"quantile": str(share)}, seconds)
    latency.add_sample(f"{latency.name}_count", {}, pulse.beats)
    latency.add_sample(f"{latency.name}_sum", {}, pulse.seconds)
    yield latency


@contextmanager
def listening(metrics: Metrics, port: int) -> Iterator[int]:
    """Answer /metrics and /healthz on 127.0.0.1 meanwhile; the port, which is a free one if `port` is 0.

    Raises:
        OSError: the port is taken.
    """
    with ThreadingHTTPServer(("127.0.0.1", port), _answers_of(metrics)) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def _answers_of(metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        timeout = 10.0

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._reply(200, CONTENT_TYPE_LATEST, metrics.text())
            elif self.path == "/healthz":
                sickness = metrics.sickness()
                self._reply(503 if sickness else 200, "text/plain; charset=utf-8", f"{sickness or 'ok'}\n".encode())
            else:
                self.send_error(404)

        def _reply(self, code: int, kind: str, content: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nobody wants a line each scrape."""

    return Answers
