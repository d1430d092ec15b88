"""The command line as a person meets it, in this process."""

from __future__ import annotations

import os
import sys

import pytest

from edgeloop.cli import main


def end_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0
) -> tuple[str, str]:
    """What `edgeloop` prints and says; it must end with `code`. Offline keys get a passphrase, if the test has none of its own."""
    if "EDGELOOP_OFFLINE_PASSPHRASE" not in os.environ:
        monkeypatch.setenv("EDGELOOP_OFFLINE_PASSPHRASE", "for the tests")
    monkeypatch.setattr(sys, "argv", ["edgeloop", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert int(end.value.code or 0) == code, err
    return out, err
