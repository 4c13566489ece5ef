"""The driver's line to the control actor: orders go out, what happens comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType

from cirrus.actors.actor import Actor, Ref
from cirrus.actors.control import FROM_DRIVER, TO_DRIVER
from cirrus.actors.kernel import Kernel
from cirrus.actors.trust import certain
from cirrus.core.messages import FromDriver, ToDriver
from cirrus.core.restarts import Backoff
from cirrus.errors import WireError

MOST_BYTES = 1 << 20
BACKOFF = Backoff(0.05, 2.0, 1.0)
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where the control actor answers, and the token that the driver shows there."""

    url: str
    token: str


class Orders(Actor[FromDriver]):
    """Sends what it is told to shard 0's control actor and hands what it hears from there to ``hear``.

    A lost connection is made again for ``PATIENCE`` seconds. What was to be sent meanwhile is dropped: the control
    actor greets each connection, and whoever hears the greeting says again what was lost.
    """

    def __init__(
        self, kernel: Kernel, session: ClientSession, address: Address, hear: Callable[[ToDriver], Awaitable[None]]
    ) -> None:
        self._kernel = kernel
        self._session = session
        self._address = address
        self._hear = hear
        self._socket: ClientWebSocketResponse | None = None

    async def started(self, ref: Ref[FromDriver]) -> None:  # noqa: ARG002  it never speaks to itself
        self._kernel.task(self._stay_connected(), name="orders.listen")

    async def receive(self, message: FromDriver) -> None:
        if self._socket is None:
            return
        try:
            await self._socket.send_bytes(FROM_DRIVER.encode(message))
        except (ConnectionError, ClientError):
            self._socket = None

    async def stopped(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def _stay_connected(self) -> None:
        clock = self._kernel.clock
        failures, since = 0, clock.monotonic()
        while True:
            try:
                with certain(self._address.url):
                    await self._listen()
            except (ClientError, OSError) as error:
                failures += 1
                if clock.monotonic() - since > PATIENCE:
                    raise WireError(f"the control actor at {self._address.url} cannot be reached: {error}") from error
            else:
                failures, since = 1, clock.monotonic()
            await clock.sleep(BACKOFF.delay(failures, 0.0))

    async def _listen(self) -> None:
        """Connect, and take in what comes until the connection ends."""
        async with self._session.ws_connect(
            f"{self._address.url}/control",
            headers={"Authorization": f"Bearer {self._address.token}"},
            max_msg_size=MOST_BYTES,
            compress=0,
            heartbeat=20.0,
        ) as socket:
            self._socket = socket
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    await self._hear(TO_DRIVER.decode(message.data))
            if self._socket is socket:
                self._socket = None
