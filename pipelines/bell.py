"""What tells at once that something was put into the store, where the store does: MinIO's notifications, on a thread of their own.

Nothing depends on it. Whoever waits for it looks into the store anyway, before and after: it may be deaf for a while, or for ever.
"""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from edgeloop.errors import StoreError


class Bell:
    """Rings when something is put into `folder`; `deaf` is why it cannot, once that is known."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._rang = threading.Event()
        self._listener: threading.Thread | None = None
        self.deaf = ""

    def attend(self, store: str) -> None:
        """From now on hear what is put into the store at that URL; what rang before is forgotten."""
        self._rang.clear()
        if urlsplit(store).scheme != "s3":
            self.deaf = "a directory tells nothing by itself"
        elif self._listener is None or not self._listener.is_alive():
            self._listener = threading.Thread(target=self._listen, args=(store,), name="bell", daemon=True)
            self._listener.start()

    def rings(self, within: float) -> bool:
        """Wait for it, for at most so many seconds; whether it rang since `attend`."""
        return self._listener is not None and self._rang.wait(within)

    def _listen(self, store: str) -> None:
        from fleet.bucket import open_bucket  # only here: few need it, and it takes a while

        bucket, prefix = open_bucket(store)
        try:
            for _ in bucket.puts("/".join(filter(None, (prefix, self._folder, "")))):
                self.deaf = ""
                self._rang.set()
        except StoreError as error:
            self.deaf = error.message  # until the next call
