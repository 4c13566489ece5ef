"""The bucket: closed to the public, encrypted, by TLS only, without unfinished uploads; what else is set is left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from cirrus.deploy.plan import BucketPlan
from cirrus.deploy.services import Services
from cirrus.deploy.things import Aspect, canonical, pairs, part, unpaired
from cirrus.errors import OutsideError

PUBLIC = {
    "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True,
}  # fmt: skip
PRIVATE, TLS = "no public access", "TLS only"
RULE = "cirrus-unfinished-uploads"
VERSIONS = ("Versions", "DeleteMarkers")
FIRST = "us-east-1"
"""The region that S3 does not let one name."""


class Bucket:
    """The bucket of a plan, as a thing."""

    def __init__(self, services: Services, plan: BucketPlan, *, emptied: bool = False) -> None:
        self._services = services
        self._plan = plan
        self._emptied = emptied

    @property
    def title(self) -> str:
        return f"bucket {self._plan.name}"

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        plan = self._plan
        encryption = {"SSEAlgorithm": plan.algorithm, **({"KMSMasterKeyID": plan.kms_key} if plan.kms_key else {})}
        after = partial(Aspect, born=False)
        return (
            Aspect("tags", dict(plan.tags), self._our_tags, self._write_tags),
            after(PRIVATE, PUBLIC, self._public, self._write_public),
            after("encryption", encryption, self._encryption, partial(self._write_encryption, encryption)),
            after(TLS, canonical(_statement(plan)), self._tls, self._write_policy),
            after("end of unfinished uploads", plan.abandoned, self._abandoned, self._write_lifecycle),
        )

    async def tags(self) -> Mapping[str, str] | None:
        if await self._find("list_objects_v2", MaxKeys=1) is None:
            return None
        found = await self._find("get_bucket_tagging")
        return unpaired(found["TagSet"]) if found else {}

    async def create(self) -> None:
        region = self._plan.region
        where = {} if region == FIRST else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        await self._ask("create_bucket", **where)
        await self._write_tags()

    async def kept(self) -> str:
        if self._emptied or not (await self._ask("list_object_versions", MaxKeys=1)).keys() & {*VERSIONS}:
            return ""
        return "it has data; --data removes them as well"

    async def remove(self) -> None:
        if self._emptied:
            await self._empty()
        await self._ask("delete_bucket")

    async def _empty(self) -> None:
        """Remove all objects, all older versions of them, and all uploads."""
        while True:
            page = await self._ask("list_object_versions")
            found = [one for kind in VERSIONS for one in page.get(kind, ())]
            if not found:
                break
            names = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
            for failed in (await self._ask("delete_objects", Delete={"Objects": names, "Quiet": True})).get(
                "Errors", ()
            ):
                raise OutsideError(f"{failed['Key']} cannot be removed: {failed.get('Code')} {failed.get('Message')}")
        while uploads := (await self._ask("list_multipart_uploads")).get("Uploads"):
            for one in uploads:
                await self._ask("abort_multipart_upload", Key=one["Key"], UploadId=one["UploadId"])

    async def _our_tags(self) -> object:
        return part(await self.tags(), self._plan.tags)

    async def _write_tags(self) -> None:
        await self._ask(
            "put_bucket_tagging", Tagging={"TagSet": pairs({**(await self.tags() or {}), **self._plan.tags})}
        )

    async def _public(self) -> object:
        found = await self._find("get_public_access_block")
        return found and found["PublicAccessBlockConfiguration"]

    async def _write_public(self) -> None:
        await self._ask("put_public_access_block", PublicAccessBlockConfiguration=PUBLIC)

    async def _encryption(self) -> object:
        found = await self._find("get_bucket_encryption")
        return found and found["ServerSideEncryptionConfiguration"]["Rules"][0].get(
            "ApplyServerSideEncryptionByDefault"
        )

    async def _write_encryption(self, wanted: Mapping[str, str]) -> None:
        rules = [{"ApplyServerSideEncryptionByDefault": wanted, "BucketKeyEnabled": self._plan.kms_key is not None}]
        await self._ask("put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": rules})

    async def _statements(self) -> list[Mapping[str, Any]]:
        found = await self._find("get_bucket_policy")
        statements = json.loads(found["Policy"])["Statement"] if found else []
        return statements if isinstance(statements, list) else [statements]

    async def _tls(self) -> object:
        sid = _statement(self._plan)["Sid"]
        return next((canonical(one) for one in await self._statements() if one.get("Sid") == sid), None)

    async def _write_policy(self) -> None:
        ours = _statement(self._plan)
        others = [one for one in await self._statements() if one.get("Sid") != ours["Sid"]]
        await self._ask("put_bucket_policy", Policy=json.dumps({**self._plan.policy, "Statement": [*others, ours]}))

    async def _rules(self) -> list[dict[str, Any]]:
        found = await self._find("get_bucket_lifecycle_configuration")
        return list(found["Rules"]) if found else []

    async def _abandoned(self) -> object:
        ours = next((one for one in await self._rules() if one.get("ID") == RULE and one["Status"] == "Enabled"), {})
        return ours.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")

    async def _write_lifecycle(self) -> None:
        ours = {
            "ID": RULE, "Status": "Enabled", "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": self._plan.abandoned},
        }  # fmt: skip
        others = [one for one in await self._rules() if one.get("ID") != RULE]
        await self._ask("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [*others, ours]})

    async def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        return await self._services.ask("s3", method, Bucket=self._plan.name, **parameters)

    async def _find(self, method: str, **parameters: object) -> dict[str, Any] | None:
        return await self._services.find("s3", method, Bucket=self._plan.name, **parameters)


def _statement(plan: BucketPlan) -> dict[str, Any]:
    """The one statement of the bucket's policy that is ours."""
    statement: dict[str, Any] = plan.policy["Statement"][0]
    return statement
