"""Learning from good images only: a routed memory of normal patches.

`MemoryHead` scores, `MemoryLearner` fills it from any source of patch features, `fit_memory` is how
`moekit adapt` does.
"""

from __future__ import annotations

from moekit_industrial.anomaly.fit import fit_memory
from moekit_industrial.anomaly.head import MemoryHead
from moekit_industrial.anomaly.learning import MemoryLearner

__all__ = ["MemoryHead", "MemoryLearner", "fit_memory"]
