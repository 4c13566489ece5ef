"""Signatures are those of AWS's documentation, and of AWS's SDK."""

from __future__ import annotations

from urllib.parse import quote

from botocore import credentials as theirs
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from hypothesis import given
from hypothesis import strategies as some

from cirrus.store.sigv4 import Credentials, Scope, Signed, authorization, sha256, signature

HOST = "bucket.s3.eu-central-1.amazonaws.com"
TEXTS = some.text(some.characters(codec="utf-8"), max_size=30)
VALUES = some.text(some.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30)
NAMES = some.sampled_from(["range", "if-match", "if-none-match", "x-amz-meta-a", "x-amz-expected-bucket-owner"])
QUERIES = some.dictionaries(some.sampled_from(["list-type", "prefix", "uploads", "uploadId", "partNumber"]), TEXTS)


@given(
    method=some.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]),
    key=TEXTS, query=QUERIES, headers=some.dictionaries(NAMES, VALUES), token=some.none() | VALUES,
    body=some.binary(max_size=30),
)  # fmt: skip
def test_a_signature_is_the_sdks(
    method: str, key: str, query: dict[str, str], headers: dict[str, str], token: str | None, body: bytes
) -> None:
    keys = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", token)
    path = "/" + quote(key, safe="/-_.~")
    arguments = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in query.items())
    wanted = AWSRequest(method, f"https://{HOST}{path}?{arguments}", dict(headers), body)
    S3SigV4Auth(theirs.Credentials(keys.access_key, keys.secret_key, token), "s3", "eu-central-1").add_auth(wanted)
    sent = {name.lower(): value for name, value in wanted.headers.items()}
    expected = sent.pop("authorization")
    request = Signed(method, path, arguments, {**sent, "host": HOST}, sent["x-amz-content-sha256"])
    assert authorization(request, Scope(sent["x-amz-date"], "eu-central-1", "s3"), keys) == expected


def test_a_signature_is_that_of_the_documentation() -> None:
    """Amazon S3's own example of a ranged GET ("Signature Calculations for the Authorization Header")."""
    keys = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "a-token")
    headers = {
        "host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9", "x-amz-content-sha256": sha256(b""),
        "x-amz-date": "20130524T000000Z",
    }  # fmt: skip
    request = Signed("GET", "/test.txt", "", headers, sha256(b""))
    found = signature(request, Scope("20130524T000000Z", "us-east-1", "s3"), keys.secret_key)
    assert found == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    assert keys.secret_key not in repr(keys)
    assert "a-token" not in repr(keys)
