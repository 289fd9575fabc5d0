"""The upper tail of the scores of negatives, fitted: thresholds beyond what a sample can count.

Of 64 negatives none tells where 1 in 200 begins. By the theorem of Pickands, Balkema and de Haan
the scores beyond a high one follow a generalised Pareto distribution; its fit says so, and how
surely (peaks over threshold: Coles 2001, An Introduction to Statistical Modeling of Extreme Values,
chapter 4). Scores are taken as log-odds, which have no upper end.

Fewer than 20 negatives have no tail that could be fitted. Their log-odds are taken as normally
distributed, and the threshold is the limit that the next one passes with the share asked for
(Hahn and Meeker 1991, Statistical Intervals, chapter 4).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy  # type: ignore[import-untyped]  # its parts are imported when they are used

from moekit.errors import DataError

LEAST_NEGATIVES = 20
VERY_FEWEST = 3
"""Of negatives: fewer tell no spread."""
LARGEST_TAIL = 0.25
"""Share of the negatives that the tail is fitted to, and so the largest that it can promise."""
_LEAST_EXCEEDING = 10
_RESAMPLES = 200
_HEAVIEST, _LIGHTEST = 0.5, -0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tail:
    """A fitted tail, on log-odds.

    Attributes:
        start: Where the tail begins.
        share: Share of the negatives beyond it.
        shape: Of the generalised Pareto distribution, kept within [-0.5, 0.5]: small samples tell
            it badly, and beyond these the moments of the fit do not exist.
        scale: Its scale.
    """

    start: float
    share: float
    shape: float
    scale: float

    def beyond(self, logit: float) -> float:
        """Share of negatives at or above a log-odds value; at most `share`."""
        excess = max(logit - self.start, 0.0)
        return self.share * float(scipy.stats.genpareto.sf(excess, self.shape, scale=self.scale))

    def quantile(self, alarms: float) -> float:
        """The log-odds that a share `alarms` of the negatives, at most `share`, reaches."""
        inside = min(alarms / self.share, 1.0)
        return self.start + float(scipy.stats.genpareto.isf(inside, self.shape, scale=self.scale))


def fit_tail(scores: np.ndarray) -> Tail:
    """Fits the tail of the scores of negatives by probability-weighted moments.

    Those of Hosking and Wallis 1987 (Technometrics 29:339) need no search and are steadier than the
    likelihood on few scores.

    Args:
        scores: (n,) in (0, 1).

    Raises:
        DataError: Fewer than 20 scores.
    """
    count = len(scores)
    _check_count(count, LEAST_NEGATIVES)
    logits = np.sort(_logits(scores))
    beyond = min(max(round(LARGEST_TAIL * count), _LEAST_EXCEEDING), count - 1)
    start = float(logits[count - beyond - 1])
    excess = logits[count - beyond :] - start
    mean = max(float(excess.mean()), 1e-9)
    weights = (beyond - np.arange(1, beyond + 1)) / (beyond - 1)
    moment = float((weights * excess).mean())
    shape = 2 - mean / max(mean - 2 * moment, 1e-9)
    shape = float(np.clip(shape, _LIGHTEST, _HEAVIEST))
    return Tail(start=start, share=beyond / count, shape=shape, scale=mean * (1 - shape))


def tail_threshold(scores: np.ndarray, *, alarms: float) -> tuple[float, tuple[float, float]]:
    """The score that a share of the negatives is expected to reach.

    Args:
        scores: (n,) of negatives, in (0, 1).
        alarms: The share, above 0 and at most a quarter.

    Returns:
        The threshold and a 95% interval of the share that is truly beyond it: tails of 200
        resamples say how much of their negatives lies there, or of fewer than 20 scores as many
        draws of the mean and the spread.

    Raises:
        DataError: Fewer than 3 scores.
    """
    if len(scores) < LEAST_NEGATIVES:
        return _normal_threshold(scores, alarms)
    limit = fit_tail(scores).quantile(alarms)
    threshold = _as_score(limit, scores)
    generator = np.random.default_rng(0)
    shares = [
        fit_tail(generator.choice(scores, size=len(scores))).beyond(limit)
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(shares, (0.025, 0.975))
    return threshold, (float(low), float(high))


def tail_limit(scores: np.ndarray, *, alarms: float) -> float:
    """The threshold of `tail_threshold` without its interval.

    Raises:
        DataError: Fewer than 3 scores.
    """
    if len(scores) < LEAST_NEGATIVES:
        return _as_score(_normal_limit(scores, alarms), scores)
    return _as_score(fit_tail(scores).quantile(alarms), scores)


def _normal_limit(scores: np.ndarray, alarms: float) -> float:
    count = len(scores)
    _check_count(count, VERY_FEWEST)
    logits = _logits(scores)
    spread = max(float(logits.std(ddof=1)), 1e-9)
    return float(
        logits.mean() + scipy.stats.t.isf(alarms, count - 1) * spread * np.sqrt(1 + 1 / count)
    )


def _normal_threshold(scores: np.ndarray, alarms: float) -> tuple[float, tuple[float, float]]:
    count = len(scores)
    _check_count(count, VERY_FEWEST)
    logits = _logits(scores)
    mean, spread = logits.mean(), max(float(logits.std(ddof=1)), 1e-9)
    limit = _normal_limit(scores, alarms)
    generator = np.random.default_rng(0)
    spreads = spread * np.sqrt((count - 1) / generator.chisquare(count - 1, _RESAMPLES))
    means = mean + spreads / np.sqrt(count) * generator.standard_normal(_RESAMPLES)
    low, high = np.quantile(scipy.stats.norm.sf((limit - means) / spreads), (0.025, 0.975))
    return _as_score(limit, scores), (float(low), float(high))


def _logits(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.special.logit(np.clip(scores, 1e-300, np.nextafter(1.0, 0.0))))


def _as_score(limit: float, scores: np.ndarray) -> float:
    """The score of log-odds; above all scores if the log-odds are, also next to 0 and 1."""
    threshold, greatest = float(scipy.special.expit(limit)), float(scores.max())
    if limit > float(_logits(scores).max()) and threshold <= greatest:
        return float(np.nextafter(greatest, np.inf))
    return threshold


def _check_count(count: int, least: int) -> None:
    if count < least:
        raise DataError(
            f"{count} scores of negatives are too few to tell how they scatter",
            whose="the validation split",
            fix=f"give at least {least} there, or use the rule max-false-alarm",
            code="data/too-few",
        )


def counted_interval(alarmed: int, negatives: int) -> tuple[float, float]:
    """The exact 95% interval of a counted share (Clopper and Pearson 1934, Biometrika 26:404)."""
    found = scipy.stats.binomtest(alarmed, negatives).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)
