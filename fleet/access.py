"""Who may do what in a MinIO: a user for each device, a policy for each loop.

A policy names no device: `${aws:username}` holds each to what bears its own name, so a loop has one policy for any number of
devices. A device may write into its inbox and its status, and read the releases: no listing, no delete, nothing of another.

What a device gets itself from MinIO, such as temporary credentials, ends with its secret.

That an inbox is create-only is the device's habit and not the server's rule (MinIO has no condition for it): whoever has a
device's credentials can overwrite that device's batches that wait. A name holds the digest of its bytes, so that is noticed.
"""

from __future__ import annotations

import os
import secrets
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import msgspec
from minio import MinioAdmin
from minio.credentials.providers import EnvAWSProvider

from edgeloop.errors import ConfigError, NotFound
from edgeloop.layout import check_id
from fleet.bucket import ELSEWHERE, bucket_of, own_errors


class Access:
    """The users and policies of one MinIO, for one bucket; made by `open_access`. Every method may raise `StoreError`."""

    def __init__(self, admin: MinioAdmin, bucket: str, prefix: str) -> None:
        self._admin, self._bucket, self._prefix = admin, bucket, prefix

    def enrol(self, device: str, loop: str, secret: str) -> None:
        """Make the user `device` with the policy of `loop`. Done again with the same secret, it changes nothing.

        Raises:
            ConfigError: the id is none that MinIO takes.
        """
        check_id("device id", device)
        if len(device) < 3:
            raise ConfigError(
                f"device id {device!r} is too short: MinIO takes 3 letters or more.", remedy="Use another."
            )
        policy, policies = policy_name(self._bucket, self._prefix, loop), self.policies_of(device)
        with own_errors():
            self._admin.policy_add(policy_name=policy, policy=minio_policy(self._bucket, self._prefix, loop))
            self._admin.user_add(access_key=device, secret_key=secret)
            if policy not in policies:
                self._admin.attach_policy(policies=[policy], user=device)

    def rotate(self, device: str, secret: str) -> None:
        """A new secret for an enrolled device; the old one, and what was got with it, is worth nothing from now on. Raises `NotFound`."""
        if self._user(device) is None:
            raise _stranger(device)
        with own_errors():
            self._admin.user_add(access_key=device, secret_key=secret)
            self._end_what_it_made(device)

    def revoke(self, device: str) -> None:
        """Remove the user: its credentials, and what was got with them, are worth nothing from now on. Raises `NotFound`."""
        # Temporary credentials outlive a user, and would serve again once there is another of its name.
        self.rotate(device, new_secret())
        with own_errors():
            self._admin.user_remove(access_key=device)

    def _end_what_it_made(self, device: str) -> None:
        # Every user of MinIO can get itself temporary credentials, and could get access keys while its policy did not deny that.
        every = {"user": device, "fullRevoke": "true"}
        self._admin._url_open(method="POST", command=_Command.REVOKE_TOKENS, query_params=every)  # type: ignore[arg-type]
        keys = msgspec.json.decode(self._admin.list_service_account(user=device))["accounts"]
        for key in keys or ():
            self._admin.delete_service_account(access_key=key["accessKey"])

    def policies_of(self, device: str) -> list[str]:
        """The policies of an enrolled device; none if it is not."""
        return [name for name in (self._user(device) or {}).get("policyName", "").split(",") if name]

    def _user(self, device: str) -> dict[str, str] | None:
        try:
            with own_errors():
                return msgspec.json.decode(self._admin.user_info(access_key=device))  # type: ignore[no-any-return]
        except NotFound:
            return None


class _Command(Enum):
    """What the client has no method for."""

    REVOKE_TOKENS = "revoke-tokens/builtin"


def new_secret() -> str:
    """A secret key of 40 characters, the most that S3 clients are used to."""
    return secrets.token_urlsafe(30)


def policy_name(bucket: str, prefix: str, loop: str) -> str:
    """What the policy for the devices of `loop` is called: a server's policies are those of all its buckets."""
    return f"edgeloop-{loop}@{'='.join((bucket, *prefix.split('/'))).rstrip('=')}"


def minio_policy(bucket: str, prefix: str, loop: str) -> dict[str, Any]:
    """`device_policy` as MinIO needs it."""
    return without_administration(device_policy(bucket, prefix, loop))


def without_administration(policy: dict[str, Any]) -> dict[str, Any]:
    """A policy with none of MinIO's administration: without a word on it, a user may give itself access keys and another secret."""
    return {**policy, "Statement": [*policy["Statement"], {"Effect": "Deny", "Action": ["admin:*"]}]}


def device_policy(bucket: str, prefix: str, loop: str) -> dict[str, Any]:
    """What a device of `loop` may do, as an IAM policy: for AWS's users, and any S3 that knows them.

    Args:
        prefix: of the store in the bucket, without slashes at its ends; may be empty.
    """
    root = f"arn:aws:s3:::{bucket}/{prefix}/" if prefix else f"arn:aws:s3:::{bucket}/"
    own = f"{root}loops/{loop}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject"],
                "Resource": [f"{own}/inbox/${{aws:username}}/*", f"{own}/status/${{aws:username}}.json"],
            },
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{root}releases/*"]},
        ],
    }


def publisher_policy(bucket: str, prefix: str, role: str) -> dict[str, Any]:
    """What the process that holds the key of `releases` or `rollouts` may do, as `device_policy`: read all, write what it publishes.

    The rollout controller also writes its decisions to the lake. Neither can write what only the other signs, nor a root.
    """
    root = f"arn:aws:s3:::{bucket}/{prefix}/" if prefix else f"arn:aws:s3:::{bucket}/"
    written = [f"metadata/*.{role}.json", "metadata/*.snapshot.json", "metadata/timestamp.json"]
    written.append({"releases": "targets/models/*", "rollouts": "targets/rollouts/*"}[role])
    decisions = [f"{root}loops/*/lake/decisions/*"] if role == "rollouts" else []
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject"],
                "Resource": [*(f"{root}releases/{name}" for name in written), *decisions],
            },
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{root}*"]},
            {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}"]},
        ],
    }


def open_access(store: str) -> Access:
    """The users and policies of the MinIO that `store` is in, by the administrator's credentials in the environment.

    Raises:
        ConfigError: it is no bucket, or no endpoint is named.
    """
    bucket, prefix = bucket_of(store)
    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
    if not endpoint.netloc:
        raise ConfigError("AWS_ENDPOINT_URL names no MinIO.", remedy=f"Set it. {ELSEWHERE}")
    admin = MinioAdmin(endpoint=endpoint.netloc, credentials=EnvAWSProvider(), secure=endpoint.scheme == "https")
    return Access(admin, bucket, prefix)


def _stranger(device: str) -> NotFound:
    return NotFound(f"{device} is not enrolled.", remedy="`edgeloop device enroll` enrols it.")
