"""Metrics that a strict reader of OpenMetrics takes, and a health that is told from what is wrong."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from edge_runtime import metrics as metrics_module
from edge_runtime.daemon import serve
from edge_runtime.device import Device
from edge_runtime.metrics import Metrics, listening
from edge_runtime.pulse import Pulse
from tests.edge_runtime.test_disk import disk_full, fill
from tests.site import LOOP, make_site, readings


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    policies = 'missing = {a = 0.5, b = "reject"}\n[features.categories]'
    with make_site(tmp_path, LOOP.replace("[features.categories]", policies)).open("dev") as device:
        yield device


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def samples(text: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name + "".join(sample.labels.get(key, "") for key in ("quantile", "feature", "action"))] = (
                sample.value
            )
    return found


def test_figures_are_those_of_the_status_and_of_the_loop(device: Device, tmp_path: Path) -> None:
    pulse = Pulse()
    pulse.skip()
    metrics = Metrics(device, pulse)
    rows = [*readings(9), {"a": "hot"}]
    serve(device, ((None, row) for row in rows), timedelta(hours=1), lambda _: None, pulse=pulse)
    with listening(metrics, 0) as port:
        code, text = get(port, "/metrics")
        assert get(port, "/healthz") == (200, "ok\n")
        assert get(port, "/else")[0] == 404
        with socket.socket() as other, pytest.raises(OSError, match="refused"):
            other.connect(("127.0.0.2", port))  # loopback too, but not the address that it listens on
    found = samples(text)
    assert code == 200
    assert found["edgeloop_events_produced_total"] == found["edgeloop_events_acknowledged_total"] == 10
    assert found["edgeloop_invalid_values_totala"] == found["edgeloop_readings_skipped_total"] == 1
    assert found["edgeloop_treated_values_totalaimputed"] == found["edgeloop_treated_values_totalbrejected"] == 1
    assert found["edgeloop_prediction_seconds_count"] == 10
    assert 0 < found["edgeloop_prediction_seconds0.5"] <= found["edgeloop_prediction_seconds0.99"]
    assert found["edgeloop_uploaded_bytes_total"] > 0
    metrics.write(tmp_path / "device.prom")
    assert samples((tmp_path / "device.prom").read_text()) == found
    assert not list(tmp_path.glob("*.part"))


def test_a_loop_that_hangs_and_a_disk_that_fails_are_no_health(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    pulse = Pulse()
    metrics = Metrics(device, pulse)
    monkeypatch.setattr(metrics_module, "STUCK", 0.0)
    with listening(metrics, 0) as port:
        assert get(port, "/healthz")[0] == 200
        with device._running.lock, pulse.beat():
            code, reason = get(port, "/healthz")
            assert (code, "has been going on for" in reason) == (503, True)
        with disk_full(device._spool):
            fill(device._spool, 4)
            code, reason = get(port, "/healthz")
            assert (code, "disk is full" in reason) == (503, True)
            assert samples(get(port, "/metrics")[1])["edgeloop_healthy"] == 0
        device.flush()
        assert get(port, "/healthz")[0] == 200
