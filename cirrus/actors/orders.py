"""The driver's line to the control actor: orders go out, what happens comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType

from cirrus.actors.actor import Actor, Ref
from cirrus.actors.control import FROM_DRIVER, TO_DRIVER
from cirrus.actors.kernel import Kernel
from cirrus.core.messages import FromDriver, ToDriver
from cirrus.errors import WireError

MOST_BYTES = 1 << 20


class Orders(Actor[FromDriver]):
    """Sends what it is told to shard 0's control actor and hands what it hears from there to ``hear``."""

    def __init__(
        self, kernel: Kernel, session: ClientSession, url: str, token: str, hear: Callable[[ToDriver], Awaitable[None]]
    ) -> None:
        self._kernel = kernel
        self._session = session
        self._url = url
        self._token = token
        self._hear = hear
        self._socket: ClientWebSocketResponse | None = None

    async def started(self, ref: Ref[FromDriver]) -> None:  # noqa: ARG002  it never speaks to itself
        try:
            self._socket = await self._session.ws_connect(
                f"{self._url}/control",
                headers={"Authorization": f"Bearer {self._token}"},
                max_msg_size=MOST_BYTES,
                compress=0,
                heartbeat=20.0,
            )
        except ClientError as error:
            raise WireError(f"the control actor at {self._url} cannot be reached: {error}") from error
        self._kernel.task(self._listen(self._socket), name="orders.listen")

    async def receive(self, message: FromDriver) -> None:
        assert self._socket is not None
        try:
            await self._socket.send_bytes(FROM_DRIVER.encode(message))
        except ConnectionError as error:
            raise WireError(f"the connection to the control actor at {self._url} is gone") from error

    async def stopped(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def _listen(self, socket: ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await self._hear(TO_DRIVER.decode(message.data))
        if self._socket is socket:
            raise WireError(f"the connection to the control actor at {self._url} ended (code {socket.close_code})")
