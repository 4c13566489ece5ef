"""Server-sent events to viewers, each at its own pace: a viewer is an id, and what it has missed is looked up."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from cirrus.page.feed import Feed

RETRY = b"retry: 1000\n\n"
SILENCE = 15.0
"""Seconds after which something is sent in any case, so that both ends and who is between know that it goes on."""

HEARTBEAT = b": still here\nevent: beat\ndata:\n\n"

PATIENCE = 60.0
"""Seconds in which a viewer has to take something; one that does not is let go, and comes back by itself."""

VIEWERS = 512


class Stream:
    """Sends a feed to viewers; whoever is slow gets more at once, or the whole state, and nobody waits for it."""

    def __init__(self, feed: Feed) -> None:
        self.viewers = 0
        self._feed = feed
        self._news = asyncio.Event()
        self._closed = False

    def tell(self) -> None:
        """There is something new."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def close(self) -> None:
        """Nothing new will come: viewers get what there is, and then the end."""
        self._closed = True
        self.tell()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What follows the id of the viewer's last message, for as long as it listens."""
        if self.viewers >= VIEWERS:
            raise web.HTTPServiceUnavailable(text="too many viewers")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        last = request.headers.get("Last-Event-ID") or request.query.get("after", "")
        self.viewers += 1
        try:
            await response.prepare(request)
            await response.write(RETRY)
            await self._send(response, last)
        except ConnectionError:  # it has gone
            pass
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.viewers -= 1
        return response

    async def _send(self, response: web.StreamResponse, last: str) -> None:
        while True:
            news = self._news
            data, last = self._feed.since(last)
            if not data:
                if self._closed:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SILENCE):
                        await news.wait()
                    continue
                data = HEARTBEAT
            async with asyncio.timeout(PATIENCE):
                await response.write(data)
