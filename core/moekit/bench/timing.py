"""Timing on a machine that others use: everything in turn, and ratios within a turn.

A figure in seconds says more about the neighbours than about the code. All candidates therefore run
one after the other in each round, in an order that rotates, and a candidate is judged by the ratio
of its time to the baseline's in the same round. With one thread the time is the thread's processor
time, which leaves out the turns of other processes; with several it is the time on the wall.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import torch

Call = Callable[[int], object]
_WARM_UP = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """One candidate's time in all rounds.

    Attributes:
        milliseconds: Median; of processor time with one thread, else on the wall.
        ratio: Median over the rounds of its time to the baseline's.
        ratio_q25: First quartile of the same.
        ratio_q75: Third quartile of the same.
        rounds: How many there were.
    """

    milliseconds: float
    ratio: float
    ratio_q25: float
    ratio_q75: float
    rounds: int


def compare(
    calls: Mapping[str, Call],
    *,
    baseline: str,
    seconds: float,
    least_rounds: int = 5,
    clock: Callable[[], float] | None = None,
) -> dict[str, Timing]:
    """Times candidates in turn.

    Args:
        calls: The candidates by name. Each is called with the number of the round, so that it can
            take another input each time.
        baseline: The name to which all others are compared.
        seconds: How long to go on, all candidates together.
        least_rounds: Rounds to run even if that takes longer.
        clock: Seconds, such as `time.process_time` if calls compute in threads of their own; that
            of the module's first paragraph if None.

    Returns:
        A timing a candidate, in the order given.
    """
    for call in calls.values():
        for number in range(_WARM_UP):
            call(number)
    names = list(calls)
    if clock is None:
        clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in names}
    end = time.perf_counter() + seconds
    number = 0
    while number < least_rounds or time.perf_counter() < end:
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            began = clock()
            calls[name](number)
            times[name].append(clock() - began)
        number += 1
    return {name: _timing(times[name], times[baseline]) for name in names}


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Runs torch with that many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _timing(times: list[float], base: list[float]) -> Timing:
    ratios = [time / other for time, other in zip(times, base, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Timing(
        milliseconds=1000 * statistics.median(times),
        ratio=middle,
        ratio_q25=low,
        ratio_q75=high,
        rounds=len(times),
    )
