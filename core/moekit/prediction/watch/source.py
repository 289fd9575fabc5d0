"""New image files below a folder, and when each of them is whole.

A file is whole once its size and its times of change have stayed the same for the settle time. One
that cannot be read all the same is waited for twice as long each time, since its writer may have
paused; one that changes begins again, after it was scored too, since names are used again.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

from moekit.data.content import Stamp, stamp_of
from moekit.data.images import relative_id
from moekit.data.suffixes import is_picture_name
from moekit.data.walk import walk_images
from moekit.errors import DataError


@dataclasses.dataclass(kw_only=True)
class Arrival:
    """A file that is there.

    Attributes:
        name: Its path below the folder, as `relative_id` gives it.
        raw: The same as the file system writes it.
        path: Its path.
        mark: Its size and times of change when it was last looked at.
        since: When it was first seen with them, by the clock of `Arrivals`, in seconds.
        wait: For how long they must stay the same, in seconds.
        whole_at: When it was first found to be whole.
        tries: How often reading it has failed since it changed.
        reason: Why it could not be read; empty if it was not tried.
        earlier: Whether an earlier start scored a file of that name.
    """

    name: str
    raw: str
    path: Path
    mark: Stamp
    since: float
    wait: float
    whole_at: float = 0.0
    tries: int = 0
    reason: str = ""
    earlier: bool = False


class Arrivals:
    """The files of a folder that are new, or have changed since they were handed out.

    For one thread.

    Args:
        folder: Where images arrive, at any depth.
        seen: Names that earlier starts have scored; their files are handed out once too, to see
            whether their content is what was scored.
        settle: For how long a file must not change, in seconds.
        tries: How often a file is read before it counts as unreadable.
        clock: Seconds that never go back.

    Raises:
        DataError: There is no such folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seen: Collection[str],
        settle: float,
        tries: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not folder.is_dir():
            raise DataError(
                "there is no such folder",
                whose=str(folder),
                fix="check the path, or make it",
                code="data/not-found",
            )
        self.clock = clock
        self.trouble = ""
        """Why the folder, or one below it, could not be listed in the last scan."""
        self.outputs: tuple[tuple[str, str], ...] = ()
        """Folders that moekit wrote, which the last scan passed over, and what each is."""
        self._folder = folder
        self._prefix = len(os.path.join(folder, ""))  # noqa: PTH118
        self._seen = seen
        self._settle = settle
        self._tries = tries
        self._handed_out: dict[str, Stamp] = {}
        self._waiting: dict[str, Arrival] = {}

    @property
    def waiting(self) -> int:
        """How many files are there and not whole yet."""
        return len(self._waiting)

    def scan(self) -> list[Arrival]:
        """Looks at the folder.

        Returns:
            The files that are whole now, the oldest first, each once and again when it has changed;
            and those that vanished after reading them had failed, with the reason.
        """
        self.trouble = ""
        there: set[str] = set()
        found: set[str] = set()
        outputs: list[tuple[str, str]] = []

        def output(here: str, kind: str) -> None:
            outputs.append((here[self._prefix :], kind))

        for here, base in walk_images(
            self._folder, onerror=self._note, is_wanted=is_picture_name, output=output
        ):
            raw = f"{here}/{base}"[self._prefix :]
            found.add(raw)
            if self._look(raw):
                there.add(raw)
        self.outputs = tuple(sorted(outputs))
        whole = [
            raw
            for raw, one in self._waiting.items()
            if raw in there and self.clock() - one.since >= one.wait
        ]
        gone = [] if self.trouble else [raw for raw in self._waiting if raw not in there]
        ready = [self._hand_out(raw) for raw in whole]
        vanished = [self._hand_out(raw) for raw in gone if self._waiting[raw].tries]
        for raw in gone:
            self._waiting.pop(raw, None)
        if not self.trouble:  # names of files that are gone would fill the memory in time
            for raw in self._handed_out.keys() - found:
                if raw not in self._seen:
                    del self._handed_out[raw]
        return sorted((*ready, *vanished), key=lambda one: (one.mark[1], one.name))

    def wait_again(self, arrival: Arrival, reason: str) -> bool:
        """Takes back a file that was handed out and could not be read.

        Returns:
            Whether it is handed out again; else it has been tried often enough.
        """
        if (mark := stamp_of(arrival.path)) == arrival.mark:
            arrival.tries += 1
            arrival.reason = reason
            arrival.wait *= 2
        elif mark is not None:
            self._renew(arrival, mark)
        if mark is None or arrival.tries >= self._tries:
            return False
        arrival.since = self.clock()
        self._handed_out.pop(arrival.raw, None)
        self._waiting[arrival.raw] = arrival
        return True

    def _look(self, raw: str) -> bool:
        """Whether a file is there that was not handed out as it is now."""
        arrival = self._waiting.get(raw)
        path = Path(self._folder, raw) if arrival is None else arrival.path
        mark = stamp_of(path)
        if mark is None or mark == self._handed_out.get(raw):
            return False
        if arrival is None:
            name = relative_id(path, self._folder)
            self._waiting[raw] = Arrival(
                name=name,
                raw=raw,
                path=path,
                mark=mark,
                since=self.clock(),
                wait=self._settle,
                earlier=raw not in self._handed_out and name in self._seen,
            )
        elif mark != arrival.mark:
            self._renew(arrival, mark)
        return True

    def _renew(self, arrival: Arrival, mark: Stamp) -> None:
        arrival.mark, arrival.since, arrival.wait = mark, self.clock(), self._settle
        arrival.tries, arrival.reason, arrival.whole_at = 0, "", 0.0

    def _hand_out(self, raw: str) -> Arrival:
        arrival = self._waiting.pop(raw)
        self._handed_out[raw] = arrival.mark
        arrival.whole_at = arrival.whole_at or self.clock()
        return arrival

    def _note(self, error: OSError) -> None:
        self.trouble = f"{error.filename} cannot be listed ({error.strerror or error})"
