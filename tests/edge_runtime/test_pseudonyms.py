"""Pseudonyms that say nothing without the key, and a key that is demanded where it is needed."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.device import Device
from edge_runtime.pseudonyms import pseudonym
from edge_runtime.settings import create_home
from edgeloop.errors import ConfigError
from tests.site import LOOP, make_site

HASHED = LOOP.replace('from_time = ["hour"]', 'hashed = ["badge"]\nfrom_time = ["hour"]')


@settings(deadline=None)
@given(st.text(min_size=1), st.binary(min_size=16), st.binary(min_size=16))
def test_it_is_the_same_with_the_same_key_and_another_with_another(text: str, one: bytes, other: bytes) -> None:
    found = [pseudonym(text, one), pseudonym(text + "x", one)]
    assert found == [pseudonym(text, one), pseudonym(text + "x", one)]
    # HMAC fills a short key up with zeros
    assert one.rstrip(b"\0") == other.rstrip(b"\0") or found != [pseudonym(text, other), pseudonym(text + "x", other)]
    assert all(float(np.float32(value)) == value and 0 <= value < 2**24 and value == int(value) for value in found)


def test_it_begins_as_hmac_does() -> None:
    # RFC 4231, test case 2: 5bdcc146bf60754e…
    assert pseudonym("what do ya want for nothing?", b"Jefe") == 0x5BDCC1


def test_a_number_is_the_same_however_it_is_written_and_nothing_has_none() -> None:
    key = b"k" * 16
    assert len({pseudonym(v, key) for v in (17, 17.0, "17", np.float32(17), np.int64(17))}) == 1
    assert pseudonym(2**63, key) != pseudonym(2**63 + 1, key)  # badges are longer than what a float holds
    assert all(math.isnan(pseudonym(v, key)) for v in (None, "", math.nan, np.float32("nan")))
    for none in (math.inf, b"17", [], 10**5000):
        with pytest.raises((TypeError, ValueError)):
            pseudonym(none, key)


def test_without_its_key_no_device_is_made_or_opened(tmp_path: Path) -> None:
    site = make_site(tmp_path, HASHED)
    home = site.home("dev")
    assert (home / "hash.key").stat().st_mode & 0o777 == 0o600
    assert b"hash" not in (home / "settings.json").read_bytes().replace(b'"hashed"', b"")
    with Device.open(home, clock=site.clock) as device:
        mine = device.settings
    plain = msgspec.structs.replace(mine, schema=make_site(tmp_path / "plain").config.schema())
    for key in (b"", b"x" * 15):
        with pytest.raises(
            ConfigError, match=r"badge.* has \d+ bytes; .*16.*openssl rand -out hash\.key 32.*--hash-key"
        ):
            create_home(tmp_path / "other", mine, site.root, key)
    assert not (tmp_path / "other").exists()
    (home / "hash.key").unlink()
    with pytest.raises(ConfigError, match=r"hash\.key cannot be read: .*openssl"), Device.open(home, clock=site.clock):
        pass
    (home / "hash.key").write_bytes(b"torn")
    with pytest.raises(ConfigError, match="has 4 bytes"), Device.open(home, clock=site.clock):
        pass
    with Device.inspect(home, clock=site.clock) as device:
        assert device.status().produced == 0  # to look at it needs no key
    with pytest.raises(ConfigError, match=r"no feature is hashed.*features\.hashed"):
        create_home(tmp_path / "third", plain, site.root, b"k" * 16)
