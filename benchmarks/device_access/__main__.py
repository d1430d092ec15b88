"""What a device's credentials open: every verb on every place of a real MinIO, as the table of docs/stores.md."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from benchmarks.device_access.table import markdown, on_minio
from benchmarks.device_access.verbs import OF_BUCKETS, OF_OBJECTS, OF_THE_SERVER
from examples.minio import running


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, running(Path(name), tls=False) as minio:
        os.environ.update(minio.environment)
        found = on_minio()
    print(markdown(found))
    for of, verbs in (("an object", OF_OBJECTS), ("a bucket", OF_BUCKETS), ("the server", OF_THE_SERVER)):
        print(f"of {of}: {', '.join(verbs)}")
    for what in ("unknown", "unclear", "changed"):
        print(f"{what}: {'; '.join(getattr(found, what)) or 'nothing'}")
    tried = sum(len(row.allowed) + row.denied for row in found.rows)
    print(f"{tried} tried, {sum(row.denied for row in found.rows)} denied")
    sys.exit(bool(found.unclear or found.changed))


if __name__ == "__main__":
    main()
