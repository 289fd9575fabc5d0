"""Kits of runs in memory: the least recently used leave it and are loaded again when needed."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from moekit.errors import UsageError
from moekit.runtime.together import Trained

Load = Callable[[], Trained]


class KitCache:
    """Holds some of the kits that it knows, and loads the others next to what else is done.

    Loading goes on in a thread of its own, one kit at a time. It may be used by several threads.

    Args:
        most: Most kits that are held, at least 2; None for no bound.

    Raises:
        UsageError: It is less than 2.
    """

    def __init__(self, most: int | None) -> None:
        if most is not None and most < 2:
            raise UsageError(
                f"at most {most} kits are to lie in memory",
                whose="most_kits",
                fix="choose 2 or more, so that one can be loaded while another answers",
                code="usage/out-of-range",
            )
        self._most = most
        self._loads: dict[str, Load] = {}
        self._held: collections.OrderedDict[str, Future[Trained]] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._loader: ThreadPoolExecutor | None = None

    def add(self, name: str, load: Load) -> None:
        """Loads a kit for the first time, in this thread; what loading raises is passed on."""
        ready: Future[Trained] = Future()
        ready.set_result(load())
        with self._lock:
            self._loads[name] = load
            self._hold(name, ready)

    def forget(self, name: str) -> None:
        """Drops a kit and how it is loaded."""
        with self._lock:
            del self._loads[name]
            self._held.pop(name, None)

    def __contains__(self, name: str) -> bool:
        return name in self._loads

    @property
    def held(self) -> tuple[str, ...]:
        """The kits that lie in memory or are being loaded, the least recently used first."""
        return tuple(self._held)

    def fetch(self, names: Sequence[str]) -> list[Future[Trained]]:
        """Begins to load those of the kits that are not held, and does not wait for them."""
        with self._lock:
            return [self._future(name) for name in names]

    def get(self, name: str) -> Trained:
        """A kit, which is waited for if it is not held; what loading raises is passed on."""
        (loading,) = self.fetch([name])
        try:
            return loading.result()
        except BaseException:
            with self._lock:  # so that it is tried again
                if self._held.get(name) is loading:
                    del self._held[name]
            raise

    def parts(self, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The kits in parts that fit: all, or half of what is held, while the next are loaded.

        Args:
            names: The kits of a request.
        """
        fits = self._most is None or len(names) <= self._most
        step = len(names) if fits or self._most is None else self._most // 2
        for first in range(0, len(names), max(1, step)):
            self.fetch(names[first : first + 2 * step])
            yield tuple(names[first : first + step])

    def _future(self, name: str) -> Future[Trained]:
        kit = self._held.get(name)
        if kit is None:
            if self._loader is None:
                self._loader = ThreadPoolExecutor(1, thread_name_prefix="moekit-kits")
            kit = self._loader.submit(self._loads[name])
        self._hold(name, kit)
        return kit

    def _hold(self, name: str, kit: Future[Trained]) -> None:
        self._held[name] = kit
        self._held.move_to_end(name)
        while self._most is not None and len(self._held) > self._most:
            self._held.popitem(last=False)
