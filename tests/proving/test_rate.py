"""The archive is asked no faster than was agreed, however many ask."""

from __future__ import annotations

from mirror.proving.rate import Rate


def test_so_many_requests_a_second_and_no_more() -> None:
    now = [100.0]
    slept: list[float] = []
    rate = Rate(10, clock=lambda: now[0], sleep=slept.append)

    for _ in range(4):
        rate.wait()
    now[0] += 0.35
    rate.wait()
    now[0] += 60
    rate.wait()

    assert [round(seconds, 3) for seconds in slept] == [0.1, 0.2, 0.3, 0.05]
