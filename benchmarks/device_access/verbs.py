"""What is tried with a device's credentials: each verb is a request that the server must know, of an object, a bucket or itself."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from itertools import count
from uuid import uuid4

from minio.crypto import encrypt
from urllib3.exceptions import ReadTimeoutError

from benchmarks.device_access.asking import Answer, User
from benchmarks.device_access.places import BUCKET, DEVICE, LOOP, OWN_INBOX, PREFIX, SOURCE, Place
from fleet.access import policy_name

OfObject = Callable[[User, Place], Answer]
OfBucket = Callable[[User, str], Answer]
OfServer = Callable[[User], Answer]

_mine = (f"{BUCKET}/{OWN_INBOX}mine-{n:04}" for n in count())
_TAGS = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
_SELECT = (
    b"<SelectObjectContentRequest><Expression>SELECT * FROM S3Object</Expression><ExpressionType>SQL</ExpressionType>"
    b"<InputSerialization><CSV/></InputSerialization><OutputSerialization><CSV/></OutputSerialization></SelectObjectContentRequest>"
)
_ACL = {"x-amz-acl": "private"}


def _there(
    method: str, query: dict[str, str] | None = None, body: bytes = b"", headers: dict[str, str] | None = None
) -> OfObject:
    return lambda ask, place: ask(method, place.there()[0], query, body, headers)


def _version(method: str) -> OfObject:
    def attempt(ask: User, place: Place) -> Answer:
        path, version = place.there()
        return ask(method, path, {"versionId": version})

    return attempt


def _upload(method: str, query: dict[str, str] | None = None, body: bytes = b"") -> OfObject:
    def attempt(ask: User, place: Place) -> Answer:
        path, number, _ = place.upload()
        return ask(method, path, {**number, **(query or {})}, body)

    return attempt


def _complete(ask: User, place: Place) -> Answer:
    path, number, parts = place.upload()
    return ask("POST", path, number, parts)


def _copy_a_part_from(ask: User, place: Place) -> Answer:
    path, number, _ = Place("", BUCKET, OWN_INBOX, place.root).upload()
    return ask("PUT", path, {**number, "partNumber": "1"}, headers={"x-amz-copy-source": f"/{place.there()[0]}"})


def _unpack(ask: User, place: Place) -> Answer:
    """MinIO unpacks an archive that is put: into its inbox by the path, to the place by the name in it."""
    name = place.new().partition("/")[2]
    with tarfile.open(fileobj=(packed := io.BytesIO()), mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"new"))
    path = next(_mine).replace(BUCKET, place.bucket, 1)
    answer = ask("PUT", path, None, packed.getvalue(), {"x-amz-meta-snowball-auto-extract": "true"})
    there = place.root("HEAD", f"{place.bucket}/{name}").status == 200
    return answer if answer.denied or there else Answer(501, b"it was stored as it is", {})


def _delete_many(ask: User, place: Place) -> Answer:
    bucket, _, key = place.there()[0].partition("/")
    return ask("POST", bucket, {"delete": ""}, f"<Delete><Object><Key>{key}</Key></Object></Delete>".encode())


OF_OBJECTS: dict[str, OfObject] = {
    "PUT": lambda ask, place: ask("PUT", place.new(), body=b"new"),
    "PUT over": _there("PUT", body=b"over"),
    "PUT if none": lambda ask, place: ask("PUT", place.new(), body=b"new", headers={"If-None-Match": "*"}),
    "PUT with tags": lambda ask, place: ask("PUT", place.new(), body=b"new", headers={"x-amz-tagging": "a=b"}),
    "begin upload": lambda ask, place: ask("POST", place.new(), {"uploads": ""}),
    "upload a part": _upload("PUT", {"partNumber": "2"}, b"more"),
    "complete upload": _complete,
    "list parts": _upload("GET"),
    "abort upload": _upload("DELETE"),
    "COPY to": lambda ask, place: ask("PUT", place.new(), headers={"x-amz-copy-source": f"/{SOURCE}"}),
    "unpack to": _unpack,
    "GET": _there("GET"),
    "GET a range": _there("GET", headers={"Range": "bytes=0-1"}),
    "HEAD": _there("HEAD"),
    "COPY from": lambda ask, place: ask("PUT", next(_mine), headers={"x-amz-copy-source": f"/{place.there()[0]}"}),
    "COPY a part from": _copy_a_part_from,
    "SELECT": _there("POST", {"select": "", "select-type": "2"}, _SELECT),
    "GET attributes": _there("GET", {"attributes": ""}, headers={"x-amz-object-attributes": "ETag"}),
    "GET a version": _version("GET"),
    "HEAD a version": _version("HEAD"),
    "GET tags": _there("GET", {"tagging": ""}),
    "PUT tags": _there("PUT", {"tagging": ""}, _TAGS),
    "DELETE tags": _there("DELETE", {"tagging": ""}),
    "GET ACL": _there("GET", {"acl": ""}),
    "PUT ACL": _there("PUT", {"acl": ""}, headers=_ACL),
    "DELETE": _there("DELETE"),
    "DELETE a version": _version("DELETE"),
    "DELETE many": _delete_many,
}


def _get(*query: str) -> OfBucket:
    return lambda ask, bucket: ask("GET", bucket, dict.fromkeys(query, ""))


def _list(**query: str) -> OfBucket:
    return lambda ask, bucket: ask("GET", bucket, {"list-type": "2", **query})


def _put(what: str, body: bytes, headers: dict[str, str] | None = None) -> OfBucket:
    return lambda ask, bucket: ask("PUT", bucket, {what: ""}, body, headers)


def _delete(what: str) -> OfBucket:
    return lambda ask, bucket: ask("DELETE", bucket, {what: ""})


def _put_policy(ask: User, bucket: str) -> Answer:
    everybody = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/*"],
    }
    return ask("PUT", bucket, {"policy": ""}, json.dumps({"Version": "2012-10-17", "Statement": [everybody]}).encode())


def _listen(ask: User, bucket: str) -> Answer:
    try:
        return ask("GET", bucket, {"events": "s3:ObjectCreated:*"}, patience=15)
    except (
        ReadTimeoutError
    ):  # no answer is what who may listen gets, until something happens; a busy server says no late
        return Answer(200, b"", {})


_RULE = b"<Rule><ID>x</ID><Status>Enabled</Status><Filter><Prefix>x</Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule>"
_AES = (
    b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
)
_AES += b"</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"

OF_BUCKETS: dict[str, OfBucket] = {
    "HEAD": lambda ask, bucket: ask("HEAD", bucket),
    "LIST": _list(),
    "LIST its inbox": _list(prefix=OWN_INBOX),
    "LIST releases": _list(prefix="plant/releases/"),
    "LIST folders": _list(delimiter="/"),
    "LIST, version 1": lambda ask, bucket: ask("GET", bucket),
    "LIST versions": _get("versions"),
    "LIST uploads": _get("uploads"),
    "GET location": _get("location"),
    "GET policy": _get("policy"),
    "GET policy status": _get("policyStatus"),
    "PUT policy": _put_policy,
    "DELETE policy": _delete("policy"),
    "GET lifecycle": _get("lifecycle"),
    "PUT lifecycle": _put("lifecycle", b"<LifecycleConfiguration>" + _RULE + b"</LifecycleConfiguration>"),
    "DELETE lifecycle": _delete("lifecycle"),
    "GET notification": _get("notification"),
    "PUT notification": _put("notification", b"<NotificationConfiguration/>"),
    "listen": _listen,
    "GET versioning": _get("versioning"),
    "PUT versioning": _put(
        "versioning", b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
    ),
    "GET tags": _get("tagging"),
    "PUT tags": _put("tagging", _TAGS),
    "DELETE tags": _delete("tagging"),
    "GET ACL": _get("acl"),
    "PUT ACL": _put("acl", b"", _ACL),
    "GET CORS": _get("cors"),
    "GET encryption": _get("encryption"),
    "PUT encryption": _put("encryption", _AES),
    "DELETE encryption": _delete("encryption"),
    "GET object lock": _get("object-lock"),
    "GET replication": _get("replication"),
    "DELETE": lambda ask, bucket: ask("DELETE", bucket),
}


def _admin(method: str, what: str, **query: str) -> OfServer:
    return lambda ask: ask(method, f"minio/admin/v3/{what}", query)


def _sealed(method: str, what: str, content: object, **query: str) -> OfServer:
    kind = {"Content-Type": "application/octet-stream"}
    return lambda ask: ask(
        method, f"minio/admin/v3/{what}", query, encrypt(json.dumps(content).encode(), ask.secret), kind
    )


_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}]}
_USER = {"secretKey": "0123456789abcdef", "status": "enabled"}

OF_THE_SERVER: dict[str, OfServer] = {
    "list buckets": lambda ask: ask("GET", ""),
    "make a bucket": lambda ask: ask("PUT", f"made-{uuid4()}"),
    "temporary credentials": lambda ask: ask.assume_role(),
    "its own account": _admin("GET", "accountinfo"),
    "its own user": _admin("GET", "user-info", accessKey=DEVICE),
    "another user": _admin("GET", "user-info", accessKey="dev-2"),
    "list users": _admin("GET", "list-users"),
    "make a user": _sealed("PUT", "add-user", _USER, accessKey="dev-3"),
    "its own secret": _sealed("PUT", "add-user", _USER, accessKey=DEVICE),
    "the secret of another": _sealed("PUT", "add-user", _USER, accessKey="dev-2"),
    "disable another": _admin("PUT", "set-user-status", accessKey="dev-2", status="disabled"),
    "list its access keys": _admin("GET", "list-service-accounts", user=DEVICE),
    "list the access keys of another": _admin("GET", "list-service-accounts", user="dev-2"),
    "make an access key": _sealed("PUT", "add-service-account", {}),
    "make an access key of another": _sealed("PUT", "add-service-account", {"targetUser": "dev-2"}),
    "end those of another": _admin("POST", "revoke-tokens/builtin", user="dev-2", fullRevoke="true"),
    "list policies": _admin("GET", "list-canned-policies"),
    "its own policy": _admin("GET", "info-canned-policy", name=policy_name(BUCKET, PREFIX, LOOP)),
    "change its policy": lambda ask: ask(
        "PUT",
        "minio/admin/v3/add-canned-policy",
        {"name": policy_name(BUCKET, PREFIX, LOOP)},
        json.dumps(_ALL).encode(),
    ),
    "attach a policy to itself": _sealed(
        "POST", "idp/builtin/policy/attach", {"policies": ["readwrite"], "user": DEVICE}
    ),
    "GET quota": _admin("GET", "get-bucket-quota", bucket=BUCKET),
    "PUT quota": lambda ask: ask(
        "PUT", "minio/admin/v3/set-bucket-quota", {"bucket": BUCKET}, b'{"quota": 1, "quotatype": "hard"}'
    ),
    "the server": _admin("GET", "info"),
    "its configuration": _admin("GET", "config"),
    "its usage": _admin("GET", "datausageinfo"),
    "export users": _admin("GET", "export-iam"),
    "export buckets": _admin("GET", "export-bucket-metadata"),
    "end its temporary credentials": _admin("POST", "revoke-tokens/builtin", user=DEVICE, fullRevoke="true"),
}
