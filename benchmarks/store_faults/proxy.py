"""An HTTP proxy before a store that does to some requests what stores and links do; a request a connection.

S3 signs the header `Host`, so it goes on as it came.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing as closed
from contextlib import contextmanager, suppress

FAULTS = ("reset", "503", "lost reply", "truncated", "wrong bytes down", "wrong bytes up", "slow", "stall")
STALL = 4.0
"""Seconds without a byte; more than a device's deadline here."""

BUSY = b"HTTP/1.1 503 Slow Down\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """The proxy before `upstream` (host, port). `share` of the requests meet a fault of `FAULTS`; `met` counts them."""

    def __init__(self, upstream: tuple[str, int], share: float, seed: int) -> None:
        self._upstream, self.share, self._draw = upstream, share, random.Random(seed)
        self.met, self.requests = Counter[str](), 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, and what becomes of it."""
        with closed(writer), suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_length(head))
            self.requests += 1
            fault = self._draw.choice(FAULTS) if self._draw.random() < self.share else ""
            self.met[fault] += bool(fault)
            await self._meet(fault, head, body, writer)

    async def _meet(self, fault: str, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        if fault == "503":
            writer.write(BUSY)
        if fault in ("reset", "503"):
            return
        if fault == "wrong bytes up":
            body = self._flipped(body)
        reply_head, reply_body = await self._ask(head, body)
        if fault == "lost reply":
            return
        if fault == "wrong bytes down":
            reply_body = self._flipped(reply_body)
        if fault == "truncated":
            reply_body = reply_body[: len(reply_body) // 2]
        writer.write(reply_head)
        if fault == "stall":
            await asyncio.sleep(STALL)
        pieces = 5 if fault == "slow" else 1
        for i in range(pieces):
            writer.write(reply_body[len(reply_body) * i // pieces : len(reply_body) * (i + 1) // pieces])
            await writer.drain()
            await asyncio.sleep(0.1 * (pieces > 1))

    async def _ask(self, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection(*self._upstream)
        with closed(writer):
            writer.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body)
            reply = await reader.read(-1)
        found, _, rest = reply.partition(b"\r\n\r\n")
        return found + b"\r\n\r\n", rest

    def _flipped(self, content: bytes) -> bytes:
        if not content:
            return content
        place = self._draw.randrange(len(content))
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@contextmanager
def running(proxy: Proxy) -> Iterator[str]:
    """The proxy on a thread of its own; its URL."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(proxy.answer, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(_end(asyncio.all_tasks(loop)))
        loop.close()


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.1)  # connections close at the next turn of the loop


def _length(head: bytes) -> int:
    lines = head.decode("latin-1").lower().split("\r\n")
    return next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
