"""The same description as CloudFormation and SAM templates, in JSON, which both tools read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cirrus.deploy.buckets import PUBLIC, RULE
from cirrus.deploy.deployment import MARK, Deployment
from cirrus.deploy.places import Place
from cirrus.deploy.plan import BucketPlan, FunctionPlan, Plan, planned
from cirrus.deploy.stamps import Stamp
from cirrus.deploy.terraform import terraform
from cirrus.deploy.things import pairs
from cirrus.errors import PipelineError

HERE = Place("${AWS::Partition}", "${AWS::Region}", "${AWS::AccountId}")
"""What CloudFormation puts in by itself."""

KINDS = ("sam", "cloudformation", "terraform")


def template(kind: str, deployment: Deployment, stamp: Stamp, bundle: str) -> str:
    """A template as text; ``bundle`` is the path of the zip, which CloudFormation takes from a bucket instead."""
    match kind:
        case "sam":
            return _json(sam(planned(deployment, HERE, stamp), bundle))
        case "cloudformation":
            return _json(cloudformation(planned(deployment, HERE, stamp)))
        case "terraform":
            return terraform(deployment, stamp, bundle)
        case _:
            raise PipelineError("deploy.template", kind, ", ".join(KINDS))


def cloudformation(plan: Plan) -> dict[str, Any]:
    """A CloudFormation template; where the bundle is, are its parameters."""
    function = plan.function
    code = {"Code": {"S3Bucket": {"Ref": "BundleBucket"}, "S3Key": {"Ref": "BundleKey"}}}
    events = {
        "FunctionName": {"Ref": "Function"}, "Qualifier": "$LATEST",
        "MaximumRetryAttempts": function.retries, "MaximumEventAgeInSeconds": function.event_age,
    }  # fmt: skip
    return _whole(
        plan,
        {
            "Function": _resource(
                "AWS::Lambda::Function", {**_function(function), **code, **_tags(function.tags)}, DependsOn=["LogGroup"]
            ),
            "Events": _resource("AWS::Lambda::EventInvokeConfig", events),
        },
        Parameters={
            "BundleBucket": {"Type": "String", "Description": "the bucket that the bundle was uploaded to"},
            "BundleKey": {"Type": "String", "Description": "the key of the bundle there"},
        },
    )


def sam(plan: Plan, bundle: str) -> dict[str, Any]:
    """A SAM template; ``sam deploy`` uploads the bundle."""
    function = plan.function
    events = {"MaximumRetryAttempts": function.retries, "MaximumEventAgeInSeconds": function.event_age}
    tags = {"Tags": _own(function.tags)} if _own(function.tags) else {}
    properties = {**_function(function), "CodeUri": bundle, "EventInvokeConfig": events, **tags}
    made = _resource("AWS::Serverless::Function", properties, DependsOn=["LogGroup"])
    return _whole(plan, {"Function": made}, Transform="AWS::Serverless-2016-10-31")


def _whole(plan: Plan, function: Mapping[str, Any], **more: object) -> dict[str, Any]:
    bucket = {} if plan.bucket is None else _bucket(plan.bucket)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"cirrus: the function {plan.function.name} and what it needs",
        **more,
        "Resources": _substituted({**bucket, **_role(plan), **_log_group(plan), **function}),
        "Outputs": {
            "FunctionArn": {"Value": {"Fn::GetAtt": ["Function", "Arn"]}},
            "RoleArn": {"Value": {"Fn::GetAtt": ["Role", "Arn"]}},
        },
    }


def _bucket(plan: BucketPlan) -> dict[str, Any]:
    key = {} if plan.kms_key is None else {"KMSMasterKeyID": plan.kms_key}
    rule = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": plan.algorithm, **key}, "BucketKeyEnabled": bool(key)}
    unfinished = {
        "Id": RULE, "Status": "Enabled",
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": plan.abandoned},
    }  # fmt: skip
    properties = {
        "BucketName": plan.name,
        "PublicAccessBlockConfiguration": PUBLIC,
        "BucketEncryption": {"ServerSideEncryptionConfiguration": [rule]},
        "LifecycleConfiguration": {"Rules": [unfinished]},
        **_tags(plan.tags),
    }
    kept = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
    policy = {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": plan.policy}
    return {
        "Bucket": _resource("AWS::S3::Bucket", properties, **kept),
        "BucketPolicy": _resource("AWS::S3::BucketPolicy", policy),
    }


def _role(plan: Plan) -> dict[str, Any]:
    role = plan.role
    properties = {
        "RoleName": role.name, "AssumeRolePolicyDocument": role.trust,
        "Policies": [{"PolicyName": role.policy_name, "PolicyDocument": role.policy}], **_tags(role.tags),
    }  # fmt: skip
    return {"Role": _resource("AWS::IAM::Role", properties)}


def _log_group(plan: Plan) -> dict[str, Any]:
    group = plan.log_group
    properties = {"LogGroupName": group.name, "RetentionInDays": group.retention, **_tags(group.tags)}
    away = {"DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete"}
    return {"LogGroup": _resource("AWS::Logs::LogGroup", properties, **away)}


def _function(plan: FunctionPlan) -> dict[str, Any]:
    """What both kinds of functions call the same."""
    reserved = {} if plan.concurrency is None else {"ReservedConcurrentExecutions": plan.concurrency}
    return {
        "FunctionName": plan.name, "Role": {"Fn::GetAtt": ["Role", "Arn"]}, "Handler": plan.handler,
        "Runtime": plan.runtime, "Architectures": [plan.architecture], "MemorySize": plan.memory,
        "Timeout": plan.timeout, "EphemeralStorage": {"Size": plan.disk},
        "Environment": {"Variables": dict(plan.environment)},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": plan.log_group}, **reserved,
    }  # fmt: skip


def _resource(kind: str, properties: Mapping[str, Any], **more: object) -> dict[str, Any]:
    return {"Type": kind, **more, "Properties": properties}


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    """Without our mark: what a template has made is not for ``cirrus destroy``."""
    return {name: value for name, value in tags.items() if name != MARK}


def _tags(tags: Mapping[str, str]) -> dict[str, Any]:
    return {"Tags": pairs(_own(tags))} if _own(tags) else {}


def _substituted(value: object) -> Any:
    """The same with what CloudFormation has to put in marked for it."""
    match value:
        case str():
            return {"Fn::Sub": value} if "${AWS::" in value else value
        case dict():
            return {name: _substituted(one) for name, one in value.items()}
        case list() | tuple():
            return [_substituted(one) for one in value]
        case _:
            return value


def _json(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"
