from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import ConfigError
from edgeloop.window import Window
from tests.site import START

MINUTES = st.integers(0, 24 * 60 - 1)


@given(MINUTES, MINUTES, MINUTES)
def test_a_window_is_open_from_its_first_minute_up_to_its_last(begin: int, end: int, now: int) -> None:
    if begin == end:
        return
    window = Window.parse(f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}")
    is_open = (now - begin) % 1440 < (end - begin) % 1440
    opens = window.opens(START + timedelta(minutes=now))
    assert opens == START + timedelta(minutes=now if is_open else now + (begin - now) % 1440)


def test_it_is_in_utc_whatever_the_clock_shows() -> None:
    at_ten = (START + timedelta(hours=22)).astimezone(timezone(timedelta(hours=9)))
    assert Window.parse("22:00-23:00").opens(at_ten) == at_ten
    assert Window().opens(at_ten) == at_ten


@pytest.mark.parametrize("text", ["22-6", "22:00", "22:00-24:00", "6:00-7:00", "22:00-22:00", " 22:00-06:00"])
def test_what_are_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="such as '22:00-06:00'"):
        Window.parse(text)
