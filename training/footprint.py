"""What a model takes of a device's memory, measured in a process of its own.

What counts is the anonymous memory (proc(5), RssAnon) that comes with loading it as a device does and answering the golden vectors: the
pages of the runtime's own files are there without it, and can be given up. A tree takes ten times its file and more, so a file's
length would not do.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgeloop.errors import ModelError

STEP = 2**20
"""Bytes that it is rounded up to: one measurement differs from the next by a page or two, and the same model is to be the same release."""


def memory_of(model: bytes, rows: NDArray[np.float32]) -> int:
    """Bytes of memory that an ONNX model adds to a process that answers `rows` (n, d) with it, in whole MiB; 0 where Linux does not say.

    Raises:
        ModelError: the process failed.
    """
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "model.onnx")
        path.write_bytes(model)
        np.save(Path(name, "rows.npy"), rows)
        found = subprocess.run([sys.executable, "-m", __name__, name], capture_output=True, text=True)
    if found.returncode:
        raise ModelError(
            f"measuring the model's memory failed: {found.stderr.strip()[-200:]}.",
            remedy="The model may need more memory than there is here.",
        )
    return -(-int(found.stdout) // STEP) * STEP


def _measure(folder: Path) -> int:
    """In the process of its own: bytes."""
    rows = np.load(folder / "rows.npy")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    before = _anonymous()
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    for row in rows:
        session.run(["probabilities"], {"features": row[np.newaxis]})
    return max(0, _anonymous() - before)


def _anonymous() -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return 1024 * int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0])
    return 0


if __name__ == "__main__":
    sys.stdout.write(str(_measure(Path(sys.argv[1]))))
