"""One request to an S3 as one user, with nothing of a client between."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

import urllib3
from minio.credentials import Credentials
from minio.signer import sign_v4_s3, sign_v4_sts
from minio.time import to_amz_date, utcnow


@dataclass(frozen=True)
class Answer:
    """What came: a no, nothing that this server has, or else a yes."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def denied(self) -> bool:
        # Of many objects at once each has its answer, within a good one.
        return self.status in (401, 403) or b"<Code>AccessDenied</Code>" in self.body

    @property
    def absent(self) -> bool:
        return self.status in (400, 405, 426) or self.status >= 500


class User:
    """Somebody who asks the server at `endpoint`."""

    def __init__(self, endpoint: str, name: str, secret: str, token: str | None = None) -> None:
        self._endpoint, self._credentials = endpoint, Credentials(name, secret, token)
        self._pool = urllib3.PoolManager(retries=False)
        self.secret = secret

    def __call__(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        sign: Callable[..., dict[str, str]] = sign_v4_s3,
        patience: float = 60,
    ) -> Answer:
        """Ask for `/path?query`. Raises `ReadTimeoutError`: there is no answer for `patience` seconds."""
        url, now, digest = urlsplit(f"{self._endpoint}/{path}"), utcnow(), hashlib.sha256(body).hexdigest()
        url = url._replace(query=urlencode(sorted((query or {}).items())))
        asked = {"Host": url.netloc, "x-amz-date": to_amz_date(now), "x-amz-content-sha256": digest, **(headers or {})}
        if self._credentials.session_token:
            asked["x-amz-security-token"] = self._credentials.session_token
        if body:
            asked["Content-MD5"] = b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        signed = sign(
            method=method,
            url=url,
            region="us-east-1",
            headers=asked,
            credentials=self._credentials,
            content_sha256=digest,
            date=now,
        )
        reply = self._pool.request(method, url.geturl(), body=body, headers=signed, timeout=patience)
        return Answer(reply.status, reply.data, reply.headers)

    def assume_role(self) -> Answer:
        """Ask for temporary credentials."""
        form = urlencode({"Action": "AssumeRole", "Version": "2011-06-15", "DurationSeconds": "3600"}).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self("POST", "", body=form, headers=kind, sign=sign_v4_sts)

    def temporary(self) -> User:
        """The same user by temporary credentials."""
        said = {e.tag.rpartition("}")[2]: e.text or "" for e in ElementTree.fromstring(self.assume_role().body).iter()}
        return User(self._endpoint, said["AccessKeyId"], said["SecretAccessKey"], said["SessionToken"])
