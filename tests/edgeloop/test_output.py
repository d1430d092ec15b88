from __future__ import annotations

import pytest

from edgeloop.cli.output import emit, fail, note, say, table
from edgeloop.errors import DataError

HOSTILE = "a\x1b[2J\x9b31m\r\u202eb[/red][bold]c"


def test_what_a_device_says_of_itself_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    emit({}, as_json=False, human=table("fleet", ("reason",), [(HOSTILE,)]))
    say(HOSTILE)
    note(HOSTILE)
    fail(DataError(HOSTILE, remedy=HOSTILE))
    printed = "".join(capsys.readouterr())
    assert not {c for c in printed if not c.isprintable()} - {"\n"}
    assert printed.count("b[/red][bold]c") == 5
