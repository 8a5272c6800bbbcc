"""Buckets of tokens, by a clock of the test's own."""

from ntrader.api.rates import RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_tokens_at_once_and_then_as_they_come_back() -> None:
    clock = Clock()
    limiter = RateLimiter(6, clock=clock)
    assert [limiter.take("a").remaining for _ in range(6)] == [5, 4, 3, 2, 1, 0]

    refused = limiter.take("a")
    assert (refused.retry_seconds, refused.remaining, refused.reset_seconds) == (10, 0, 60)
    clock.now += 9.9
    assert limiter.take("a").retry_seconds == 1
    clock.now += 0.2
    assert limiter.take("a").retry_seconds == 0
    assert limiter.take("a").retry_seconds == 10


def test_a_bucket_is_never_fuller_than_full() -> None:
    clock = Clock()
    limiter = RateLimiter(3, clock=clock)
    limiter.take("a")
    clock.now += 10_000
    assert limiter.take("a").remaining == 2


def test_each_has_a_bucket_of_his_own() -> None:
    limiter = RateLimiter(1, clock=Clock())
    limiter.take("a")
    assert limiter.take("a").retry_seconds
    assert not limiter.take("b").retry_seconds


def test_looking_takes_nothing() -> None:
    limiter = RateLimiter(1, clock=Clock())
    assert [limiter.peek("a").retry_seconds for _ in range(3)] == [0, 0, 0]
    limiter.take("a")
    assert limiter.peek("a").retry_seconds == 60


def test_headers_say_where_one_stands() -> None:
    assert RateLimiter(6, clock=Clock()).take("a").headers == {
        "RateLimit-Limit": "6",
        "RateLimit-Remaining": "5",
        "RateLimit-Reset": "10",
        "RateLimit-Policy": "6;w=60",
    }
