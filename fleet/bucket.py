"""A bucket as its owner sees it: what is set up for it, asked and changed through the `minio` client.

The client trusts the authorities in the file `SSL_CERT_FILE`, if that is set, as everything else that speaks to the store does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
from minio import Minio, MinioAdmin
from minio.commonconfig import ENABLED
from minio.credentials.providers import EnvAWSProvider
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioAdminException, MinioException, S3Error
from minio.lifecycleconfig import LifecycleConfig, Rule
from minio.versioningconfig import VersioningConfig
from urllib3.exceptions import HTTPError

from edgeloop.errors import ConfigError, NotFound, StoreError

AWS = "https://s3.amazonaws.com"
ELSEWHERE = (
    "With another S3, give each device a user under the policy that `edgeloop device policy` prints: docs/stores.md."
)

_DENIED = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_UNKNOWN = frozenset(
    {"InvalidArgument", "MalformedXML", "MethodNotAllowed", "NotImplemented", "VersioningNotConfigured"}
)


class Denied(StoreError):
    """The credentials do not allow it."""


class Unsupported(StoreError):
    """A store of this kind does not have it."""


@dataclass(frozen=True)
class Version:
    """A version of the object `name`; the `current` one, or not. With `mark` it says that the object was deleted."""

    name: str
    ident: str
    current: bool
    mark: bool


class Bucket:
    """One bucket; made by `open_bucket`. What is asked about one that does not exist is None.

    Every method may raise `Denied`, `Unsupported`, or `StoreError` if the store cannot be asked.
    """

    def __init__(self, client: Minio, admin: MinioAdmin, name: str) -> None:
        self._client, self._admin, self.name = client, admin, name

    def exists(self) -> bool:
        """Whether there is such a bucket."""
        with own_errors():
            return bool(self._client.bucket_exists(bucket_name=self.name))

    def make(self) -> None:
        """Make it."""
        with own_errors():
            self._client.make_bucket(bucket_name=self.name)

    def versioning(self) -> str | None:
        """`Enabled`, `Suspended`, or None if it never had any."""
        with suppress(NotFound), own_errors():
            return self._client.get_bucket_versioning(bucket_name=self.name).status
        return None

    def keep_versions(self) -> None:
        """From now on keep what is overwritten or deleted, as a version that is not current."""
        with own_errors():
            self._client.set_bucket_versioning(bucket_name=self.name, config=VersioningConfig(ENABLED))

    def has_rules(self) -> bool:
        """Whether there can be lifecycle rules, be it that these credentials may not have any."""
        try:
            self._rules()
        except Unsupported:
            return False
        except Denied:
            pass
        return True

    def rule(self, ident: str) -> Rule | None:
        """The lifecycle rule of that id."""
        return next((rule for rule in self._rules() if rule.rule_id == ident), None)

    def put_rule(self, rule: Rule) -> None:
        """Add a lifecycle rule, in the place of the one with its id; all others stay."""
        rules = [other for other in self._rules() if other.rule_id != rule.rule_id]
        with own_errors():
            self._client.set_bucket_lifecycle(bucket_name=self.name, config=LifecycleConfig([*rules, rule]))

    def _rules(self) -> list[Rule]:
        with suppress(NotFound), own_errors():
            found = self._client.get_bucket_lifecycle(bucket_name=self.name)
            return found.rules if found else []
        return []

    def policy(self, name: str) -> dict[str, Any] | None:
        """The policy of that name, of the whole MinIO."""
        with suppress(NotFound), own_errors():
            return msgspec.json.decode(self._admin.policy_info(policy_name=name), type=dict[str, Any])
        return None

    def put_policy(self, name: str, policy: dict[str, Any]) -> None:
        """Make or replace a policy."""
        with own_errors():
            self._admin.policy_add(policy_name=name, policy=policy)

    def quota(self) -> int | None:
        """The most bytes that the bucket may have; None for no end."""
        with suppress(NotFound), own_errors():
            return msgspec.json.decode(self._admin.bucket_quota_get(self.name))["quota"] or None
        return None

    def put_quota(self, size: int) -> None:
        """Let the bucket have `size` bytes, and refuse what is more."""
        with own_errors():
            self._admin.bucket_quota_set(self.name, size)

    def versions(self, prefix: str) -> Iterator[Version]:
        """Every version of every object whose name begins with `prefix`, and the marks of deletions."""
        with own_errors():
            for found in self._client.list_objects(
                bucket_name=self.name, prefix=prefix, recursive=True, include_version=True
            ):
                yield Version(
                    found.object_name or "",
                    found.version_id or "null",
                    found.is_latest == "true",
                    bool(found.is_delete_marker),
                )

    def read_version(self, version: Version) -> bytes:
        """The bytes of one; none of a mark. Raises `NotFound`."""
        if version.mark:
            return b""
        with (
            own_errors(),
            self._client.get_object(
                bucket_name=self.name, object_name=version.name, version_id=version.ident
            ) as response,
        ):
            return bytes(response.data)

    def remove_versions(self, versions: Iterable[Version]) -> None:
        """Remove these for good, a thousand a request."""
        with own_errors():
            wanted = (DeleteObject(version.name, version.ident) for version in versions)
            for failed in self._client.remove_objects(bucket_name=self.name, delete_object_list=wanted):
                raise _own(failed.code or "", f"{failed.message} ({failed.name})")

    def is_minio(self) -> bool:
        """Whether MinIO's administration answers there, be it to refuse."""
        with suppress(Denied):
            try:
                self.quota()
            except Unsupported:
                return False
        return True

    def puts(self, prefix: str) -> Iterator[None]:
        """Comes round whenever an object is put under `prefix`, for as long as the store's stream of notifications lasts."""
        if not self.is_minio():
            # The client takes another store's answer for a stream that broke, and would ask for ever.
            raise Unsupported("the store tells nothing by itself.")
        events = "s3:ObjectCreated:*"
        with (
            own_errors(),
            self._client.listen_bucket_notification(bucket_name=self.name, prefix=prefix, events=(events,)) as puts,
        ):
            for _ in puts:
                yield


def open_bucket(store: str) -> tuple[Bucket, str]:
    """The bucket that `store` is in, by the credentials in the environment, and the store's prefix in it.

    Raises:
        ConfigError: it is in no bucket.
    """
    name, prefix = bucket_of(store)
    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL") or AWS)
    secure, credentials = endpoint.scheme == "https", EnvAWSProvider()
    region = os.environ.get("AWS_REGION", "us-east-1")
    client = Minio(endpoint=endpoint.netloc, region=region, secure=secure, credentials=credentials)
    admin = MinioAdmin(endpoint=endpoint.netloc, secure=secure, credentials=credentials)
    return Bucket(client, admin, name), prefix


def bucket_of(store: str) -> tuple[str, str]:
    """Bucket and prefix of a store's URL. Raises `ConfigError`: it is in none."""
    parts = urlsplit(store)
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigError(
            f"{store} is no bucket: only in one are devices kept apart.",
            remedy="Use s3://bucket or s3://bucket/prefix.",
        )
    return parts.netloc, parts.path.strip("/")


@contextmanager
def own_errors() -> Iterator[None]:
    """Turn the client's errors into ours."""
    try:
        yield
    except S3Error as error:
        raise _own(error.code or "", f"{error.message}") from error
    except MinioAdminException as error:
        answer = _answer_of(error)
        if not answer:
            raise Unsupported("no MinIO answers there.", remedy=ELSEWHERE) from error
        raise _own(answer.get("Code", ""), answer.get("Message", str(error))) from error
    except InvalidResponseError as error:
        raise Unsupported(f"the store answered with no S3 document, status {error._code}.") from error
    except (HTTPError, MinioException, ValueError) as error:
        raise StoreError(
            f"the store could not be asked: {error}.", remedy="Check AWS_ENDPOINT_URL and the credentials."
        ) from error


def _own(code: str, message: str) -> StoreError:
    said = f"the store refused: {message.rstrip('.')}."
    if "NoSuch" in code:
        return NotFound(said)
    if code in _UNKNOWN:
        return Unsupported(said)
    kind = Denied if code in _DENIED else StoreError
    return kind(said, remedy="Check that the credentials are an administrator's.")


def _answer_of(error: MinioAdminException) -> dict[str, str]:
    """What MinIO says in JSON; nothing of what another store has to say to a request that it does not know."""
    try:
        return msgspec.json.decode(error._body, type=dict[str, str])
    except msgspec.MsgspecError:
        return {}
