"""Pauses between attempts."""

from itertools import islice

from ntrader.storage.backoff import FIRST_SECONDS, LONGEST_SECONDS, backoff


def test_pauses_double_up_to_a_second_less_a_random_part() -> None:
    whole = FIRST_SECONDS
    for pause in islice(backoff(1_000), 12):
        assert whole / 2 <= pause <= whole
        whole = min(2 * whole, LONGEST_SECONDS)


def test_two_who_wait_do_not_come_back_together() -> None:
    assert list(islice(backoff(1_000), 12)) != list(islice(backoff(1_000), 12))


def test_when_the_time_is_up_there_is_no_further_pause() -> None:
    assert list(backoff(0)) == []


def test_a_pause_does_not_outlast_the_time() -> None:
    assert next(backoff(0.005)) <= 0.005
