"""What a model takes of a device's memory, measured in a process of its own.

What counts is the anonymous memory (proc(5), RssAnon) that comes with loading it as a device does and answering the golden vectors: the
pages of the runtime's own files are there without it, and can be given up. A tree takes ten times its file and more, and a network for
TFLite three times, since its weights are laid out anew: a file's length would not do.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ModelError
from edgeloop.manifest import Artefact

Answer = Callable[[NDArray[np.float32]], object]
Load = Callable[[str], Answer]
"""From a model's file, loaded as a device does, to what answers a row (1, d)."""

STEP = 2**20
"""Bytes that it is rounded up to: one measurement differs from the next by a page or two, and the same model is to be the same release."""


def artefact_of(runtime: str, target: str, model: bytes, rows: NDArray[np.float32]) -> Artefact:
    """A manifest's entry for a model file, with what it takes of memory. Raises as `memory_of`."""
    return Artefact(runtime, target, sha256(model).hexdigest(), len(model), memory_of(runtime, model, rows))


def memory_of(runtime: str, model: bytes, rows: NDArray[np.float32]) -> int:
    """Bytes of memory that a model adds to a process that answers `rows` (n, d) with it, in whole MiB; 0 where Linux does not say.

    Raises:
        ModelError: the process failed, or the runtime (`onnx` or `tflite`) is not installed here.
    """
    with tempfile.TemporaryDirectory() as name:
        Path(name, "model").write_bytes(model)
        np.save(Path(name, "rows.npy"), rows)
        found = subprocess.run([sys.executable, "-m", __name__, name, runtime], capture_output=True, text=True)
    if found.returncode:
        raise ModelError(
            f"measuring the memory of a {runtime} model failed: {found.stderr.strip()[-200:]}.",
            remedy="The model may need more memory than there is here; for a tflite model install edgeloop[litert].",
        )
    return -(-int(found.stdout) // STEP) * STEP


def _measure(folder: Path, load: Callable[[], Load]) -> int:
    """In the process of its own: bytes. What the runtime's modules take comes before."""
    rows, loaded = np.load(folder / "rows.npy"), load()
    before = _anonymous()
    answer = loaded(str(folder / "model"))
    for row in rows:
        answer(row[np.newaxis])
    return max(0, _anonymous() - before)


def _onnx() -> Load:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1

    def loaded(path: str) -> Answer:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda row: session.run(["probabilities"], {"features": row})

    return loaded


def _tflite() -> Load:
    from ai_edge_litert.interpreter import Interpreter

    def loaded(path: str) -> Answer:
        interpreter = Interpreter(model_path=path, num_threads=1)
        interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()

        def answer(row: NDArray[np.float32]) -> None:
            # Quantised or not, it takes the same room.
            interpreter.set_tensor(given["index"], row.astype(given["dtype"]))
            interpreter.invoke()

        return answer

    return loaded


def _anonymous() -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return 1024 * int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0])
    return 0


if __name__ == "__main__":
    sys.stdout.write(str(_measure(Path(sys.argv[1]), {"onnx": _onnx, "tflite": _tflite}[sys.argv[2]])))
