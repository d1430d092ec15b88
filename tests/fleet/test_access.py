"""What a device's credentials open, tried one by one against a real MinIO."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
import pytest
from minio import Minio, MinioAdmin
from minio.credentials import AssumeRoleProvider, Provider, StaticProvider
from minio.error import MinioAdminException, S3Error

from edgeloop.errors import AlreadyExists, ConfigError, EdgeloopError, NotFound, StoreError
from edgeloop.store import Store, open_store
from fleet.access import Access, device_policy, new_secret, open_access, policy_name

INBOX, STATUS = "loops/pump/inbox", "loops/pump/status"


@pytest.fixture
def access(minio: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Access:
    for name, value in minio.items():
        monkeypatch.setenv(name, value)
    return open_access("s3://edgeloop/plant")


def enrolled(access: Access, device: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    secret = new_secret()
    for _ in range(2):  # as after a crash
        access.enrol(device, "pump", secret)
    return store_of(device, secret, monkeypatch)


def store_of(device: str, secret: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", device)
        patch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        return open_store("s3://edgeloop/plant")


def test_a_device_may_write_its_own_and_read_releases_and_nothing_else(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre = open_store("s3://edgeloop/plant")
    others = f"{INBOX}/dev-2/batch", f"{STATUS}/dev-2.json", "loops/other/inbox/dev-1/batch", "releases/metadata/a.json"
    for path in (*others, f"{INBOX}/dev-1/first", f"{STATUS}/dev-1.json"):
        centre.replace(path, b"as it was")
    device = enrolled(access, "dev-1", monkeypatch)

    device.create(f"{INBOX}/dev-1/second", b"mine")
    with pytest.raises(AlreadyExists):
        device.create(f"{INBOX}/dev-1/second", b"mine")
    device.replace(f"{STATUS}/dev-1.json", b"mine")
    assert device.read_range("releases/metadata/a.json", 0, 100) == b"as it was"

    tried = {
        **{f"write {path}": (lambda p=path: device.replace(p, b"changed")) for path in others},
        **{f"create {path}": (lambda p=f"{path}-new": device.create(p, b"new")) for path in others},
        **{f"read {path}": (lambda p=path: device.read(p)) for path in others[:3]},
        **{f"delete {path}": (lambda p=path: device.delete(p)) for path in (*others, f"{INBOX}/dev-1/first")},
        "read its own inbox": lambda: device.read(f"{INBOX}/dev-1/first"),
        "read its own status": lambda: device.read(f"{STATUS}/dev-1.json"),
        "list its own inbox": lambda: list(device.list(f"{INBOX}/dev-1")),
        "list the releases": lambda: list(device.list("releases")),
        "list everything": lambda: list(device.list("")),
    }
    allowed = [name for name, attempt in tried.items() if not denied(attempt)]
    assert not allowed
    assert {centre.read(path) for path in others} == {b"as it was"}
    assert not [e.path for e in centre.list("") if e.path.endswith("new")]


def denied(attempt: object) -> bool:
    try:
        attempt()  # type: ignore[operator]
    except NotFound:
        return False
    except StoreError:
        return True
    return False


def test_credentials_end_with_rotation_and_revocation(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    old, secret = enrolled(access, "dev-9", monkeypatch), new_secret()
    access.rotate("dev-9", secret)
    new = store_of("dev-9", secret, monkeypatch)
    new.create(f"{INBOX}/dev-9/1", b"1")
    with pytest.raises(StoreError):
        old.create(f"{INBOX}/dev-9/2", b"2")
    access.revoke("dev-9")
    with pytest.raises(StoreError):
        new.create(f"{INBOX}/dev-9/3", b"3")
    with pytest.raises(NotFound, match="not enrolled"):
        access.revoke("dev-9")
    with pytest.raises(NotFound, match="not enrolled"):
        access.rotate("dev-9", secret)
    enrolled(access, "dev-9", monkeypatch).create(f"{INBOX}/dev-9/4", b"4")


def test_nothing_that_a_stolen_secret_got_itself_outlives_it(access: Access, minio: dict[str, str]) -> None:
    """A user of MinIO can get itself temporary credentials, and no policy keeps it from that."""
    for end in (lambda: access.rotate("dev-8", new_secret()), lambda: access.revoke("dev-8")):
        stolen = new_secret()
        access.enrol("dev-8", "pump", stolen)
        thief = StaticProvider("dev-8", stolen)
        with pytest.raises(MinioAdminException, match="AccessDenied"):
            administration(minio, thief).add_service_account()
        with pytest.raises(MinioAdminException, match="AccessDenied"):
            administration(minio, thief).user_add(access_key="dev-8", secret_key=new_secret())
        temporary = AssumeRoleProvider(
            sts_endpoint=minio["AWS_ENDPOINT_URL"], access_key="dev-8", secret_key=stolen
        ).retrieve()
        provider = StaticProvider(temporary.access_key, temporary.secret_key, temporary.session_token)
        assert may_read(minio, provider)
        end()
        assert not may_read(minio, provider)
        access.enrol("dev-8", "pump", new_secret())
        assert not may_read(minio, provider)


def test_an_access_key_from_when_a_policy_allowed_it_ends_with_rotation(access: Access, minio: dict[str, str]) -> None:
    stolen, root = new_secret(), StaticProvider(minio["AWS_ACCESS_KEY_ID"], minio["AWS_SECRET_ACCESS_KEY"])
    access.enrol("dev-7", "pump", stolen)
    older = device_policy("edgeloop", "plant", "pump")
    administration(minio, root).policy_add(policy_name=policy_name("edgeloop", "plant", "pump"), policy=older)
    made = administration(minio, StaticProvider("dev-7", stolen)).add_service_account()
    key = msgspec.json.decode(made)["credentials"]
    provider = StaticProvider(key["accessKey"], key["secretKey"])
    assert may_read(minio, provider)
    access.rotate("dev-7", new_secret())
    assert not may_read(minio, provider)


def administration(minio: dict[str, str], provider: Provider) -> MinioAdmin:
    return MinioAdmin(endpoint=urlsplit(minio["AWS_ENDPOINT_URL"]).netloc, credentials=provider, secure=False)


def may_read(minio: dict[str, str], provider: Provider) -> bool:
    """Whether the releases are open to whoever has these credentials."""
    open_store("s3://edgeloop/plant").replace("releases/metadata/a.json", b"signed")
    address = urlsplit(minio["AWS_ENDPOINT_URL"]).netloc
    client = Minio(endpoint=address, region="us-east-1", credentials=provider, secure=False)
    try:
        return client.get_object(bucket_name="edgeloop", object_name="plant/releases/metadata/a.json").data == b"signed"
    except S3Error:
        return False


@pytest.mark.parametrize("device", ["ab", "../x", "a/b", "${aws:username}", "*", ""])
def test_ids_that_could_mean_something_else_are_refused(device: str, access: Access) -> None:
    with pytest.raises(EdgeloopError):
        access.enrol(device, "pump", new_secret())


def test_what_has_no_administration_of_minios_names_the_other_way(
    versitygw: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in versitygw.items():
        monkeypatch.setenv(name, value)
    access = open_access("s3://edgeloop/plant")
    for attempt in (lambda: access.enrol("dev-1", "pump", new_secret()), lambda: access.revoke("dev-1")):
        with pytest.raises(StoreError, match=r"no MinIO answers there. .*edgeloop device policy"):
            attempt()


def test_what_is_no_minio_is_said(monkeypatch: pytest.MonkeyPatch, minio: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="no bucket"):
        open_access("/a/directory")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL"):
        open_access("s3://edgeloop")
    monkeypatch.setenv("AWS_ENDPOINT_URL", minio["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing at all")
    with pytest.raises(StoreError, match="the store refused"):
        open_access("s3://edgeloop").enrol("dev-1", "pump", new_secret())
