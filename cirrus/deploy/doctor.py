"""Look at all that a run on AWS needs, and say of each that is missing what to do about it; nothing is changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from cirrus.clock import Clock
from cirrus.cloud.prices import read_prices
from cirrus.deploy.buckets import PRIVATE, TLS, Bucket
from cirrus.deploy.deployment import Deployment
from cirrus.deploy.places import Place
from cirrus.deploy.plan import EVENT_AGE, RETRIES, planned
from cirrus.deploy.services import Services, denied, foreign_answer
from cirrus.deploy.shards import unreachable
from cirrus.deploy.stamps import SOURCE, VERSION, Stamp
from cirrus.errors import OutsideError, PipelineError
from cirrus.store.aside import aside

State = Literal["fine", "wrong", "unknown"]

SKEW = 240.0
"""Seconds by which the clock may be wrong; AWS refuses requests at 300."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do where it is not fine."""

    name: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Wants:
    """What a run will want: so many workers at a time, code of that stamp, the hosts of shards at those URLs.

    ``ca`` is the file with the authorities of these hosts (``None``: that of the environment).
    """

    workers: int
    stamp: Stamp
    shards: tuple[str, ...] = ()
    ca: str | None = None


class Doctor:
    """Looks at a deployment as these credentials see it, for what a run will want."""

    def __init__(self, services: Services, deployment: Deployment, wants: Wants, clock: Clock) -> None:
        self._services = services
        self._deployment = deployment
        self._wants = wants
        self._clock = clock

    async def findings(self) -> AsyncIterator[Finding]:
        """One after the other; without credentials only what can be seen without them."""
        credentials, answer = await self._credentials()
        yield credentials
        yield self._time(answer)
        if credentials.state == "fine":
            async for finding in self._things(answer):
                yield finding
        yield await self._prices()
        for url in self._wants.shards:
            yield await _shard(url, self._wants.ca)

    async def _things(self, identity: dict[str, Any]) -> AsyncIterator[Finding]:
        place = Place(identity["Arn"].split(":")[1], self._services.region, identity["Account"])
        bucket = await self._bucket()
        yield bucket
        if bucket.state == "fine" and self._deployment.own_bucket:
            yield await self._bucket_settings(place)
        function, found = await self._function()
        yield function
        if found is not None:
            stamp = self._wants.stamp
            told = found.get("Environment", {}).get("Variables", {})
            yield self._version(stamp, told.get(VERSION, ""))
            if told.get(VERSION) == stamp.version:
                yield self._bundle(stamp, told.get(SOURCE, ""))
            yield await self._events()
            yield await self._concurrency()

    async def _credentials(self) -> tuple[Finding, dict[str, Any]]:
        """Who AWS takes us for, and its answer, whatever it is."""
        try:
            answer = await self._services.ask("sts", "get_caller_identity")
        except OutsideError as error:
            away = "look whether this machine reaches AWS, or name another server with --endpoint"
            keys = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or log in with aws configure"
            remedy = keys if "credentials" in str(error) else away
            return Finding("credentials", "wrong", str(error), remedy), foreign_answer(error)
        return Finding("credentials", "fine", f"account {answer['Account']}, {answer['Arn']}"), answer

    def _time(self, answer: dict[str, Any]) -> Finding:
        """How far this machine's clock is from that of AWS."""
        try:
            date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        except (KeyError, ValueError):
            return Finding("clock", "unknown", "AWS has not told its time", "see to the credentials first")
        ahead = self._clock.wall() - date.timestamp()
        found = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} AWS's"
        if abs(ahead) <= SKEW:
            return Finding("clock", "fine", found)
        return Finding("clock", "wrong", found, "set this machine's clock, by NTP for instance: AWS refuses at 300 s")

    async def _bucket(self) -> Finding:
        one = self._deployment
        where = {"Bucket": one.bucket, "Prefix": f"{one.prefix}/", "MaxKeys": 1}
        try:
            there = await self._services.find("s3", "list_objects_v2", **where)
        except OutsideError as error:
            remedy = "take the policy of cirrus iam driver; a name in use by others looks like this, too"
            return Finding("bucket", "wrong", f"{one.bucket}: {error}", remedy)
        if there is None:
            return Finding("bucket", "wrong", f"there is no bucket {one.bucket}", "make it with cirrus deploy")
        return Finding("bucket", "fine", f"s3://{one.bucket}/{one.prefix}")

    async def _bucket_settings(self, place: Place) -> Finding:
        plan = planned(self._deployment, place, Stamp("", "")).bucket
        assert plan is not None, "the bucket is ours"
        aspects = [one for one in Bucket(self._services, plan).aspects if one.name in {PRIVATE, TLS}]
        name = "bucket settings"
        try:
            wrong = [one.name for one in aspects if await one.read() != one.wanted]
        except OutsideError as error:
            return _unseen(name, error, "these credentials may not see them")
        if wrong:
            remedy = "set them with cirrus deploy; --existing-bucket where they are not wanted"
            return Finding(name, "wrong", f"not set: {', '.join(wrong)}", remedy)
        return Finding(name, "fine", f"{PRIVATE}, {TLS}")

    async def _function(self) -> tuple[Finding, dict[str, Any] | None]:
        name = self._deployment.function
        try:
            found = await self._services.find("lambda", "get_function_configuration", FunctionName=name)
        except OutsideError as error:
            return Finding("function", "wrong", str(error), "take the policy of cirrus iam driver"), None
        if found is None:
            missing = f"there is no function {name} in {self._services.region}"
            return Finding("function", "wrong", missing, "make it with cirrus deploy, or name it with --function"), None
        state = found.get("State", "Active")
        if state not in {"Active", "Inactive"}:
            why = f"{name} is {state}: {found.get('StateReason', '')}"
            return Finding("function", "wrong", why, "wait a minute, then cirrus deploy again"), found
        told = f"{name}, {found['Runtime']} on {found['Architectures'][0]}, {found['MemorySize']} MB"
        return Finding("function", "fine", f"{told}, {found['Timeout']} s"), found

    def _version(self, stamp: Stamp, deployed: str) -> Finding:
        if deployed == stamp.version:
            return Finding("version", "fine", deployed)
        found = f"the function has cirrus {deployed or 'of an unknown version'}, here is {stamp.version}"
        return Finding(
            "version", "wrong", found, "bring the function up to date with cirrus deploy, or install the other"
        )

    def _bundle(self, stamp: Stamp, deployed: str) -> Finding:
        if deployed == stamp.source:
            return Finding("bundle", "fine", "the function runs the code that is installed here")
        found = "too old: the function runs other code of the same version than is installed here"
        return Finding("bundle", "wrong", found, "bring it up to date with cirrus deploy")

    async def _events(self) -> Finding:
        name = self._deployment.function
        try:
            found = await self._services.find("lambda", "get_function_event_invoke_config", FunctionName=name)
        except OutsideError as error:
            return _unseen("events", error, "these credentials may not see what becomes of failed events")
        given = found or {}
        if (given.get("MaximumRetryAttempts"), given.get("MaximumEventAgeInSeconds")) == (RETRIES, EVENT_AGE):
            return Finding("events", "fine", f"no retries, thrown away after {EVENT_AGE} s")
        wrong = "Lambda starts workers again by itself, for hours: it costs money and helps nobody"
        return Finding("events", "wrong", wrong, "set it with cirrus deploy")

    async def _concurrency(self) -> Finding:
        name = self._deployment.function
        try:
            found = await self._services.ask("lambda", "get_function_concurrency", FunctionName=name)
            most, whose = found.get("ReservedConcurrentExecutions"), f"reserved for {name}"
            if most is None:
                limits = (await self._services.ask("lambda", "get_account_settings"))["AccountLimit"]
                most, whose = limits["UnreservedConcurrentExecutions"], "left in the account"
        except OutsideError as error:
            return _unseen("concurrency", error, "these credentials may not see it (lambda:GetAccountSettings)")
        if most >= self._wants.workers:
            return Finding("concurrency", "fine", f"{most} executions {whose}")
        remedy = (
            f"aws lambda delete-function-concurrency --function-name {name}, or cirrus deploy --concurrency"
            if "reserved" in whose
            else "ask AWS for more: Service Quotas, AWS Lambda, Concurrent executions; or run fewer workers"
        )
        return Finding("concurrency", "wrong", f"{most} executions {whose}, {self._wants.workers} are wanted", remedy)

    async def _prices(self) -> Finding:
        try:
            found = await aside(lambda: read_prices(self._services.region))
        except PipelineError as error:
            return Finding("prices", "wrong", str(error), "cirrus prices --refresh")
        return Finding("prices", "fine", f"of {found.dated}")


async def _shard(url: str, ca: str | None) -> Finding:
    problem = await unreachable(url, ca)
    if not problem:
        return Finding("shard", "fine", url)
    remedy = "start it with cirrus shard serve, open its ports for this machine and for functions, and take its ca.pem"
    return Finding("shard", "wrong", f"{url}: {problem}", remedy)


def _unseen(name: str, error: OutsideError, why: str) -> Finding:
    """Nobody has to be able to see everything; any other error is one."""
    if denied(error):
        return Finding(name, "unknown", why, "cirrus iam deployer prints what they need")
    return Finding(name, "wrong", str(error), "try again")
