"""What goes wrong between the store on S3 and its server is tried again, known again, or told with its cure."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiobotocore.session import AioSession

from cirrus.errors import Conflict, NotFound, StoreError
from cirrus.store import s3_objects
from cirrus.store.patience import Patience
from cirrus.store.s3 import S3Store
from cirrus.testing.seaweed import Seaweed
from tests.store.troubled_s3 import Cut, Drop, Refuse, Short, Swallow, Trouble, TroubledS3, troubled

pytestmark = pytest.mark.usefixtures("client")

BUCKET = "faults"
PART = 5 << 20
BIG = bytes(PART) + b"the last part"

PASSING: list[Trouble] = [
    Refuse(503, "SlowDown"),
    Refuse(500, "InternalError"),
    Refuse(429, "TooManyRequests"),
    Drop(),
    Cut(),
]
TIMES = 2
"""The HTTP library itself sends a request again, once and at once, where a connection used before is closed."""


class Hurry:
    """A clock on which waiting takes no time, but is counted; ``slow`` is by how many seconds its time is wrong."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slow = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return time.time() - self.slow

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
async def between(server: Seaweed) -> AsyncIterator[TroubledS3]:
    async with troubled(server.endpoint) as between:
        yield between


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest parts that S3 takes: larger ones are slow to send so often."""
    monkeypatch.setattr(s3_objects, "PART", PART)


@pytest.fixture
def clock() -> Hurry:
    return Hurry()


@pytest.fixture
async def store(between: TroubledS3, clock: Hurry, client: str) -> AsyncIterator[S3Store]:
    prefix = f"test-{secrets.token_hex(8)}"
    patience = Patience(clock=clock, chance=lambda: 0.0)
    store = S3Store(BUCKET, prefix, endpoint_url=between.endpoint, patience=patience)
    await store.put("old", b"old")
    between.seen.clear()
    yield store
    await store.close()


async def _listed(store: S3Store) -> list[str]:
    return [info.key async for info in store.list("o")]


@pytest.mark.parametrize("trouble", PASSING, ids=repr)
async def test_what_passes_is_tried_again(store: S3Store, between: TroubledS3, clock: Hurry, trouble: Trouble) -> None:
    etag = (await store.info("old")).etag
    between.plan += [(method, "", trouble) for method in ("GET", "HEAD", "PUT", "DELETE")] * TIMES
    assert await store.get("old") == b"old"
    assert (await store.info("old")).size == 3
    assert await store.put("old", b"new") != etag
    between.plan += [("GET", "list-type", trouble)] * TIMES
    assert await _listed(store) == ["old"]
    assert await store.get("old") == b"new"
    await store.delete("old")
    with pytest.raises(NotFound):
        await store.get("old")
    assert not between.plan
    assert clock.now > 0


async def test_a_request_that_came_too_slowly_is_sent_again(store: S3Store, between: TroubledS3) -> None:
    between.plan += [("PUT", "", Refuse(400, "RequestTimeout"))] * TIMES
    await store.put("old", b"new")
    assert await store.get("old") == b"new"


@pytest.mark.parametrize("times", [1, 4])
async def test_an_answer_cut_short_is_asked_for_again(store: S3Store, between: TroubledS3, times: int) -> None:
    await store.put("big", b"0123456789" * 100_000)
    between.plan += [("GET", "/big", Short())] * times
    assert await store.get("big", 10, 500_010) == b"0123456789" * 50_000


LOST: list[Trouble] = [
    Cut(),
    Swallow(412, "PreconditionFailed"),
    Swallow(409, "ConditionalRequestConflict"),
    Swallow(503, "SlowDown"),
    Swallow(500, "InternalError"),
]


@pytest.mark.parametrize("trouble", LOST, ids=repr)
async def test_a_write_whose_answer_was_lost_is_known_again(
    store: S3Store, between: TroubledS3, trouble: Trouble
) -> None:
    between.plan.append(("PUT", "/new", trouble))
    etag = await store.put_if_absent("new", b"first")
    assert (await store.info("new")).etag == etag
    between.plan.append(("PUT", "/new", trouble))
    etag = await store.replace_if("new", b"second", etag)
    assert (await store.info("new")).etag == etag
    assert await store.get("new") == b"second"
    assert not between.plan


@pytest.mark.parametrize("code", [(409, "ConditionalRequestConflict"), (412, "PreconditionFailed")])
async def test_a_refusal_without_a_reason_is_tried_again(
    store: S3Store, between: TroubledS3, code: tuple[int, str]
) -> None:
    between.plan.append(("PUT", "/new", Refuse(*code)))
    etag = await store.put_if_absent("new", b"first")
    between.plan.append(("PUT", "/new", Refuse(*code)))
    await store.replace_if("new", b"second", etag)
    assert await store.get("new") == b"second"


async def test_the_same_bytes_of_somebody_else_are_not_ours(store: S3Store, between: TroubledS3) -> None:
    other = S3Store(BUCKET, store._address.prefix, endpoint_url=between.endpoint)
    etag = await other.put_if_absent("new", b"the same")
    between.plan.append(("PUT", "/new", Drop()))
    with pytest.raises(Conflict):
        await store.put_if_absent("new", b"the same")
    await other.put("new", b"another")
    between.plan.append(("PUT", "/new", Drop()))
    with pytest.raises(Conflict):
        await store.replace_if("new", b"another", etag)
    await other.close()


UPLOADS: list[tuple[str, str, Trouble]] = [
    ("POST", "uploads", Refuse(503, "SlowDown")),
    ("PUT", "partNumber=2", Refuse(500, "InternalError")),
    ("PUT", "partNumber=1", Cut()),
    ("POST", "uploadId", Refuse(503, "SlowDown")),
    ("POST", "uploadId", Cut()),
    ("POST", "uploadId", Swallow(412, "PreconditionFailed")),
    ("POST", "uploadId", Swallow(409, "ConditionalRequestConflict")),
    ("POST", "uploadId", Refuse(409, "ConditionalRequestConflict")),
]


async def _uploads(store: S3Store) -> list[str]:
    async with AioSession().create_client("s3", endpoint_url=store._address.endpoint) as client:
        answer = await client.list_multipart_uploads(Bucket=BUCKET, Prefix=store._address.prefix)
    return [one["Key"] for one in answer.get("Uploads", [])]


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("plan", UPLOADS, ids=repr)
async def test_a_large_object_survives_the_same(
    store: S3Store, between: TroubledS3, plan: tuple[str, str, Trouble]
) -> None:
    between.plan.append(plan)
    etag = await store.put_if_absent("big", BIG)
    assert not between.plan
    assert (await store.info("big")).etag == etag
    assert await store.get("big", PART - 1) == b"\0the last part"
    with pytest.raises(Conflict):
        await store.put_if_absent("big", BIG)
    assert await _uploads(store) == []


async def test_a_large_object_that_cannot_be_sent_leaves_nothing(store: S3Store, between: TroubledS3) -> None:
    between.plan.append(("PUT", "partNumber=2", Refuse(403, "AccessDenied")))
    with pytest.raises(StoreError, match="s3:PutObject"):
        await store.put("big", BIG)
    assert await _uploads(store) == []
    assert await store.get("old") == b"old"


@pytest.mark.parametrize(
    ("call", "action"),
    [
        (lambda store: store.get("old"), "s3:GetObject on arn:aws:s3:::faults/test-"),
        (lambda store: store.info("old"), "s3:GetObject on arn:aws:s3:::faults/test-"),
        (lambda store: store.put("old", b""), "s3:PutObject on arn:aws:s3:::faults/test-"),
        (lambda store: store.put("old", BIG), "s3:PutObject on arn:aws:s3:::faults/test-"),
        (lambda store: store.delete("old"), "s3:DeleteObject on arn:aws:s3:::faults/test-"),
        (_listed, "s3:ListBucket on arn:aws:s3:::faults"),
    ],
)
async def test_what_is_not_allowed_is_named(
    store: S3Store, between: TroubledS3, call: Callable[[S3Store], Awaitable[object]], action: str
) -> None:
    between.always = Refuse(403, "AccessDenied")
    with pytest.raises(StoreError, match=action) as caught:
        await call(store)
    assert type(caught.value) is StoreError
    assert caught.value.key in {"old", "o"}
    assert len(between.seen) == 1


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Refuse(400, "ExpiredToken"), "credentials have expired"),
        (Refuse(403, "InvalidAccessKeyId"), "does not accept the AWS credentials"),
        (Refuse(403, "RequestTimeTooSkewed"), "clock"),
        (Refuse(404, "NoSuchBucket"), "no bucket 'faults'"),
    ],
)
async def test_what_a_person_has_to_mend_is_told_at_once(
    store: S3Store, between: TroubledS3, trouble: Trouble, words: str
) -> None:
    between.always = trouble
    for attempt in (store.put("new", b"x"), store.get("old")):
        with pytest.raises(StoreError, match=words) as caught:
            await attempt
        assert not isinstance(caught.value, NotFound)
    assert len(between.seen) == 2


async def test_patience_ends(store: S3Store, between: TroubledS3, clock: Hurry) -> None:
    between.always = Refuse(503, "SlowDown")
    with pytest.raises(StoreError, match=r"GetObject failed, \d+ tries in 5\d\.\d s: .*SlowDown"):
        await store.get("old")
    assert 50 < clock.now <= 60
    assert len(between.seen) < 25


async def test_a_server_that_is_not_there_is_given_up_sooner(server: Seaweed, clock: Hurry) -> None:
    store = S3Store(BUCKET, "x", endpoint_url="http://127.0.0.1:9", patience=Patience(clock=clock))
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9"):
        await store.get("old")
    assert clock.now <= 15
    await store.close()


async def test_missing_credentials_are_told(server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    store = S3Store(BUCKET, "x")
    with pytest.raises(StoreError, match="no AWS credentials"):
        await store.get("old")
    await store.close()


async def test_the_buckets_owner_is_asked_for(between: TroubledS3) -> None:
    store = S3Store(BUCKET, "x", endpoint_url=between.endpoint, owner="123456789012")
    between.always = Refuse(403, "AccessDenied")
    with pytest.raises(StoreError, match="does not belong to account 123456789012"):
        await store.put("a", b"x")
    assert between.headers["x-amz-expected-bucket-owner"] == "123456789012"
    await store.close()


async def test_a_cancelled_upload_leaves_nothing(store: S3Store, between: TroubledS3) -> None:
    upload = asyncio.ensure_future(store.put("big", BIG * 3))
    while not any("partNumber" in target for _, target in between.seen):
        await asyncio.sleep(0.001)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert await _uploads(store) == []
    assert await _listed(store) == ["old"]


async def test_the_first_requests_share_one_client_and_closing_leaves_nothing(server: Seaweed) -> None:
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    store = S3Store(BUCKET, f"test-{secrets.token_hex(8)}")
    first = asyncio.ensure_future(store.put("a", b"x"))
    others = [asyncio.ensure_future(store.put(f"b{number}", b"x")) for number in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    assert [isinstance(one, str) for one in await asyncio.gather(*others)] == [True] * 5
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.get("a")
    while set(threading.enumerate()) - threads:
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks
