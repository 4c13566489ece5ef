"""Who may do what: IAM documents, each action and each resource by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cirrus.bundle.building import ARCHITECTURES
from cirrus.cloud.ec2 import IMAGE, STORE, store_tag
from cirrus.deploy.deployment import Deployment, check_role
from cirrus.deploy.places import Arns, Place
from cirrus.store.s3_address import S3Address

Document = Mapping[str, Any]

VERSION = "2012-10-17"
LAMBDA, EC2 = "lambda.amazonaws.com", "ec2.amazonaws.com"
NETWORK = ("network-interface", "security-group", "subnet")
"""What a host is connected to, and by what."""


def trust() -> Document:
    """Only Lambda takes the role."""
    return _document(
        {
            "Sid": "OnlyLambda", "Effect": "Allow", "Principal": {"Service": LAMBDA}, "Action": "sts:AssumeRole",
        }
    )  # fmt: skip


def worker(deployment: Deployment, place: Place) -> Document:
    """What a function's role may: read and write objects of runs, read the data, write its log; nothing else."""
    arns = Arns(deployment, place)
    return _document(
        _allow("Runs", ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"], [arns.objects]),
        *([_allow("Data", ["s3:GetObject"], arns.data)] if arns.data else []),
        _allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [arns.log_streams]),
        *_encryption(deployment),
    )


def driver(deployment: Deployment, place: Place) -> Document:
    """What whoever runs pipelines may: invoke the function and bound its concurrency, and use the objects of runs.

    ``lambda:GetAccountSettings`` is left out, for AWS grants it on everything or not at all: without it the driver does
    not know how many executions the account has left.
    """
    arns = Arns(deployment, place)
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    return _document(
        _allow(
            "Function",
            [
                "lambda:InvokeFunction", "lambda:GetFunctionConfiguration", "lambda:GetFunctionConcurrency",
                "lambda:PutFunctionConcurrency", "lambda:DeleteFunctionConcurrency",
            ],
            [arns.function],
        ),
        _allow("Runs", objects, [arns.objects]),
        _listing("ListRuns", arns.bucket, deployment.prefix),
        *([_allow("Data", ["s3:GetObject"], arns.data)] if arns.data else []),
        *(
            _listing(f"ListData{number}", arns.of_bucket(one.bucket), one.prefix)
            for number, one in enumerate(map(S3Address.parse, deployment.data))
        ),
        *_encryption(deployment),
    )  # fmt: skip


def shards(deployment: Deployment, place: Place, role: str) -> Document:
    """What a driver may besides, whose ``Ec2Shards`` have an instance profile with ``role``.

    It starts hosts, from Amazon's own images, with the tag of this deployment's store, and ends hosts with that tag.
    ``ec2:DescribeInstances`` is left out, for AWS grants it on everything or not at all.
    """
    check_role("role", role)
    arns = Arns(deployment, place)
    mine = store_tag(f"s3://{deployment.bucket}/{deployment.prefix}")
    made = [arns.ec2("instance"), arns.ec2("volume")]
    images = [IMAGE.removeprefix("resolve:ssm:") + one for one in sorted(ARCHITECTURES)]
    return _document(
        _allow("StartHosts", ["ec2:RunInstances"], made, {"StringEquals": {f"aws:RequestTag/{STORE}": mine}}),
        _allow("ConnectHosts", ["ec2:RunInstances"], [arns.ec2(one) for one in NETWORK]),
        _allow("UseImages", ["ec2:RunInstances"], [arns.images], {"StringEquals": {"ec2:Owner": "amazon"}}),
        _allow("FindImages", ["ssm:GetParameters"], [arns.public_parameter(one) for one in images]),
        _allow("TagHosts", ["ec2:CreateTags"], made, {"StringEquals": {"ec2:CreateAction": "RunInstances"}}),
        _allow(
            "EndHosts", ["ec2:TerminateInstances"], made[:1], {"StringEquals": {f"aws:ResourceTag/{STORE}": mine}}
        ),
        _allow("GiveRole", ["iam:PassRole"], [arns.of_role(role)], {"StringEquals": {"iam:PassedToService": EC2}}),
    )  # fmt: skip


def deployer(deployment: Deployment, place: Place) -> Document:
    """What ``cirrus deploy``, ``destroy`` and ``doctor`` need: to make, compare and remove exactly these things."""
    arns = Arns(deployment, place)
    bucket = [
        "s3:ListBucket", "s3:CreateBucket", "s3:DeleteBucket", "s3:GetBucketTagging", "s3:PutBucketTagging",
        "s3:GetBucketPublicAccessBlock", "s3:PutBucketPublicAccessBlock", "s3:GetEncryptionConfiguration",
        "s3:PutEncryptionConfiguration", "s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:GetLifecycleConfiguration",
        "s3:PutLifecycleConfiguration", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads",
    ]  # fmt: skip
    emptied = ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload"]
    passed = {"StringEquals": {"iam:PassedToService": LAMBDA}}
    return _document(
        *(
            [_allow("Bucket", bucket, [arns.bucket]), _allow("EmptyBucket", emptied, [f"{arns.bucket}/*"])]
            if deployment.own_bucket
            else [_allow("Bucket", ["s3:ListBucket"], [arns.bucket])]
        ),
        _allow(
            "Role",
            [
                "iam:GetRole", "iam:CreateRole", "iam:DeleteRole", "iam:TagRole", "iam:UpdateAssumeRolePolicy",
                "iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy",
            ],
            [arns.role],
        ),
        _allow("GiveRole", ["iam:PassRole"], [arns.role], passed),
        _allow(
            "LogGroup",
            [
                "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:PutRetentionPolicy", "logs:TagResource",
                "logs:ListTagsForResource",
            ],
            arns.log_group_forms,
        ),
        _allow("FindLogGroup", ["logs:DescribeLogGroups"], [*arns.log_group_forms, arns.log_listing]),
        _allow(
            "Function",
            [
                "lambda:GetFunction", "lambda:GetFunctionConfiguration", "lambda:CreateFunction",
                "lambda:DeleteFunction", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration",
                "lambda:TagResource", "lambda:ListTags", "lambda:GetFunctionEventInvokeConfig",
                "lambda:PutFunctionEventInvokeConfig", "lambda:GetFunctionConcurrency",
                "lambda:PutFunctionConcurrency",
            ],
            [arns.function],
        ),
    )  # fmt: skip


def encrypted_only(deployment: Deployment, place: Place) -> Document:
    """The bucket's own policy: who comes without TLS is refused, whoever it is and whatever it wants."""
    arns = Arns(deployment, place)
    return _document(
        {
            "Sid": "OnlyTls", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
            "Resource": [arns.bucket, f"{arns.bucket}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    )  # fmt: skip


def _encryption(deployment: Deployment) -> list[Document]:
    """What the user's own key takes."""
    if deployment.kms_key is None:
        return []
    return [_allow("Encryption", ["kms:Decrypt", "kms:GenerateDataKey"], [deployment.kms_key])]


def _listing(sid: str, bucket: str, prefix: str) -> Document:
    if not prefix:
        return _allow(sid, ["s3:ListBucket"], [bucket])
    return _allow(sid, ["s3:ListBucket"], [bucket], {"StringLike": {"s3:prefix": [prefix, f"{prefix}/*"]}})


def _allow(
    sid: str, actions: list[str], resources: list[str] | tuple[str, ...], condition: Document | None = None
) -> Document:
    more = {} if condition is None else {"Condition": condition}
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": list(resources), **more}


def _document(*statements: Document) -> Document:
    return {"Version": VERSION, "Statement": list(statements)}
