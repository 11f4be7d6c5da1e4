"""Everything under a prefix of a bucket, in key order, read by several requests at once.

The keys are cut into ranges, each read page by page from a `key-marker` on, so that nothing can be missed or doubled
wherever the cuts are. Where they are is a guess from what was seen so far, and decides about speed only: a range should
be a few pages long. Directories are what is counted in; a listing with a delimiter tells the names of the next ones.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import pairwise, product

from mirror.archive.s3 import ListingPage, ObjectVersion
from mirror.errors import BadAnswer

Marker = tuple[str, str]
"""key and version id after which a page begins; without version id, after all versions of the key"""
Ask = Callable[[str, Marker, str], ListingPage]
"""the page of what has a prefix after a marker, with a delimiter or (empty) without"""

PAGE = 1000
LONG = 3 * PAGE
"""After so many entries of one directory its files are divided by how their names begin."""
LARGE = 6 * PAGE
"""A directory of more entries is divided: asking for the names in it costs one request."""
WORTH_NAMING = 8
"""Directories of fewer entries are not asked for by name: a page of a thousand names would lead to too few pages."""
FREE_REQUESTS, SHARE_OF_REQUESTS = 16, 0.2
"""How many requests may be spent beyond full pages before the guessing stops: so many, and this share of the pages."""

_BY_DIGITS = 10_000
"""Levels from here on are of names cut after so many digits, in directories of the level that is the rest of it."""

_SEPARATOR = re.compile(r"[/.]")
_DIGITS = re.compile(r"[0-9]+(?![0-9a-f])|[0-9a-f]+")


@dataclass(eq=False)
class _Range:
    """Keys after `start`, up to and including `end`, read page by page."""

    start: Marker
    end: str | None
    level: int
    directories: int
    """of how many whole directories of that level it consists; 0 where that is not known"""
    expected: float | None
    seen: int = 0
    ready: deque[list[ObjectVersion]] = field(default_factory=deque)
    asked: Future[ListingPage] | None = None
    done: bool = False
    visited: set[str] = field(default_factory=set)
    """version ids of the key at `start` after which pages began"""


@dataclass(eq=False)
class _Names:
    """Directories in `directory`, known by name, to be made ranges of. The last range goes up to `end`."""

    start: Marker
    end: str | None
    directory: str
    level: int
    names: deque[str]


@dataclass(eq=False)
class _Unknown:
    """What is in `directory` after the key `after`, to be asked for by name. What is between `start` and it goes along.

    `level` is that of the directories in it.
    """

    start: Marker
    end: str | None
    directory: str
    after: str
    level: int
    asked: Future[ListingPage] | None = None


_Step = _Range | _Names | _Unknown


def in_order(ask: Ask, prefix: str, jobs: int, subject: str) -> Iterator[list[ObjectVersion]]:
    """The current versions of all objects whose key starts with `prefix`, strictly ascending by key.

    Requests run in threads of their own; all else happens in the caller's thread, whenever it wants more.
    """
    first = ask(prefix, ("", ""), "")
    plan = _Plan(ask, prefix, jobs, subject)
    plan.begin(first)
    last: str | None = None
    try:
        for batch in plan.batches():
            keys = [version.key for version in batch]
            if (last is not None and keys[0] <= last) or any(low >= high for low, high in pairwise(keys)):
                raise BadAnswer(f"{subject}: keys out of order")
            last = keys[-1]
            yield batch
    finally:
        plan.close()


class _Plan:
    """What is still to be read, in key order, and what was learnt about how many entries directories hold."""

    def __init__(self, ask: Ask, prefix: str, jobs: int, subject: str) -> None:
        self._ask = ask
        self._prefix = prefix
        self._jobs = jobs
        self._subject = subject
        self._steps: list[_Step] = []
        self._pool: ThreadPoolExecutor | None = None
        self._running: dict[Future[ListingPage], _Range | _Unknown] = {}
        self._sizes: dict[int, float] = {}
        self._separators: dict[int, str] = {}
        self._held = 0
        self._requests = 1
        self._entries = 0

    def begin(self, page: ListingPage) -> None:
        whole = _Range(("", ""), None, 0, 0, None)
        self._steps = [whole]
        self._take_page(whole, page)

    def close(self) -> None:
        if self._pool:
            # Without waiting: whoever was interrupted does not want the answers that are still on their way.
            self._pool.shutdown(wait=False, cancel_futures=True)

    def batches(self) -> Iterator[list[ObjectVersion]]:
        while self._steps:
            head = self._steps[0]
            if isinstance(head, _Range) and head.ready:
                batch = head.ready.popleft()
                self._held -= len(batch)
                self._go_on()
                yield batch
            elif isinstance(head, _Range) and head.done:
                del self._steps[0]
            else:
                self._go_on()
                if self._running and not _has_come(self._steps[0]):
                    wait(self._running, return_when=FIRST_COMPLETED)

    # Asking

    def _go_on(self) -> None:
        """Take what has come, and ask for what is wanted first, as far as threads and room for answers allow."""
        self._take({future for future in self._running if future.done()})
        position = 0
        while position < len(self._steps) and len(self._running) < self._jobs:
            step = self._steps[position]
            if isinstance(step, _Names):
                self._steps[position : position + 1] = self._next_group(step)
                continue
            if not step.asked and not (isinstance(step, _Range) and step.done):
                room = self._held + PAGE * (len(self._running) + 1) <= 2 * self._jobs * PAGE
                if not room and (position or _has_come(step)):
                    return
                if isinstance(step, _Unknown) and not self._worth_naming(step):
                    self._steps[position] = step = _Range(step.start, step.end, step.level - 1, 0, None)
                self._submit(step)
            position += 1

    def _submit(self, step: _Range | _Unknown) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="listing")
        if isinstance(step, _Range):
            step.asked = self._pool.submit(self._ask, self._prefix, step.start, "")
        else:
            delimiter = self._separators[step.level]
            step.asked = self._pool.submit(self._ask, step.directory, (step.after, ""), delimiter)
        self._requests += 1
        self._running[step.asked] = step

    def _worth_naming(self, step: _Unknown) -> bool:
        size = self._sizes.get(step.level)
        return (size is None or size >= WORTH_NAMING) and self._may_spend()

    def _may_spend(self) -> bool:
        """Whether a guess may cost requests: enough of those so far brought full pages."""
        pages = self._entries / PAGE
        return self._requests - pages < FREE_REQUESTS + self._jobs + SHARE_OF_REQUESTS * pages

    def _next_group(self, step: _Names) -> list[_Step]:
        """The next few pages' worth of directories as a range, and the rest."""
        size = self._sizes.get(step.level)
        names = step.names
        first = names.popleft()
        count = 1
        if size is not None and size > LARGE and step.level + 1 in self._separators:
            end = _past(first) if names else step.end
            return [_Unknown(step.start, end, first, first, step.level + 1), *_rest(step, end)]
        if size is not None:
            while names and not _fills_pages(count * size, size):
                names.popleft()
                count += 1
        end = names[0] if names else step.end
        expected = None if size is None or size > LARGE else count * size
        return [_Range(step.start, end, step.level, count, expected), *_rest(step, end)]

    # Answers

    def _take(self, futures: set[Future[ListingPage]]) -> None:
        for future in futures:
            step = self._running.pop(future)
            step.asked = None
            page = future.result()
            if isinstance(step, _Range):
                self._take_page(step, page)
            else:
                self._take_names(step, page)

    def _take_names(self, step: _Unknown, page: ListingPage) -> None:
        names = deque(name for name in sorted(page.prefixes) if name > step.after and _within(name, step.end))
        if not names:
            # Files only, or nothing.
            self._replace(step, [_Range(step.start, step.end, step.level - 1, 0, None)])
            return
        size = self._sizes.get(step.level)
        if page.next_marker is None:
            if size is not None and step.level > 1:
                self._sizes[step.level - 1] = len(names) * size
            self._replace(step, [_Names(step.start, step.end, step.directory, step.level, names)])
            return
        reached = _past(names[-1])
        if not _within(reached, step.end) or reached == step.end:
            self._replace(step, [_Names(step.start, step.end, step.directory, step.level, names)])
            return
        named = _Names(step.start, reached, step.directory, step.level, names)
        self._replace(step, [named, _Unknown((reached, ""), step.end, step.directory, reached, step.level)])

    def _take_page(self, step: _Range, page: ListingPage) -> None:
        keys = [version.key for version in page.versions]
        after = step.start
        self._check(keys, after, page.next_marker)
        low = bisect_right(keys, after[0]) if not after[1] else 0
        high = len(keys) if step.end is None else bisect_right(keys, step.end)
        current = [version for version in page.versions[low:high] if version.is_latest]
        if current:
            step.ready.append(current)
            self._held += len(current)
        marker = page.next_marker
        listed = max(len(keys) + len(page.deleted), PAGE if marker else 0)
        seen = listed * (high - low) / len(keys) if keys else listed
        step.seen += round(seen)
        self._entries += round(seen)
        if marker is None or (step.end is not None and marker[0] >= step.end):
            step.done = True
            if step.directories:
                self._sizes[step.level] = max(1.0, step.seen / step.directories)
            return
        self._learn(keys, marker[0])
        if marker[0] != after[0]:
            step.visited.clear()
        elif marker[1] in step.visited:
            raise BadAnswer(f"{self._subject}: a listing that does not get on")
        step.visited.add(marker[1])
        step.start = marker
        if self._jobs > 1 and (step.expected is None or step.seen > 2 * step.expected + PAGE):
            self._divide(step)
            if not step.done and step.seen >= LONG and self._may_spend():
                self._divide_by_digits(step, keys)

    def _check(self, keys: list[str], after: Marker, marker: Marker | None) -> None:
        """Whether a page is in order, begins where it should and gets on."""
        if marker and (marker == after or marker[0] < after[0]):
            raise BadAnswer(f"{self._subject}: a listing that does not get on")
        if not keys:
            return
        strays = not (keys[0].startswith(self._prefix) and keys[-1].startswith(self._prefix))
        if strays or keys != sorted(keys) or keys[0] < after[0] or (marker and keys[-1] > marker[0]):
            raise BadAnswer(f"{self._subject}: keys out of order")

    def _replace(self, step: _Step, steps: list[_Step]) -> None:
        position = self._steps.index(step)
        self._steps[position : position + 1] = steps

    # Guessing

    def _ancestors(self, key: str) -> list[str]:
        """The directories that `key` is in, outermost first: the listing's prefix itself, and all below."""
        ends = [match.end() for match in _SEPARATOR.finditer(key, len(self._prefix))]
        return [self._prefix, *(key[:end] for end in ends)]

    def _learn(self, keys: list[str], last: str) -> None:
        """Take note of how many entries the directories have that a page has shown from start to end."""
        ancestors = self._ancestors(last)
        for level, (parent, child) in enumerate(pairwise(ancestors), 1):
            self._separators[level] = child[-1]
            end = start = bisect_left(keys, child)
            count = 0
            while count < 4 and end > 0:
                key = keys[end - 1]
                cut = key.find(child[-1], len(parent)) if key.startswith(parent) else -1
                begin = bisect_left(keys, key[: cut + 1], 0, end) if cut >= 0 else 0
                if not begin:
                    break
                count += 1
                end = begin
            if count:
                self._sizes[level] = max(1.0, (start - end) / count * PAGE / len(keys))

    def _divide(self, step: _Range) -> None:
        """Cut what is left of a range that is larger than thought at the ends of directories, innermost first."""
        ancestors = self._ancestors(step.start[0])
        start, end = step.start, step.end
        steps: list[_Step] = []
        for level in range(len(ancestors) - 1, -1, -1):
            size = self._sizes.get(level) if level else None
            if size is not None and size <= LARGE:
                # Little is left of it, which goes along with what comes next.
                continue
            # Between a directory known by name and the next one there is nothing worth a request.
            alone = level == step.level and step.directories == 1
            edge = _past(ancestors[level]) if level and not alone else None
            here = edge if edge is not None and _within(edge, end) else end
            if level < len(ancestors) - 1:
                unknown = _Unknown(start, here, ancestors[level], _past(ancestors[level + 1]), level + 1)
                if unknown.after != here and _within(unknown.after, here) and self._worth_naming(unknown):
                    steps.append(unknown)
                else:
                    steps.append(_Range(start, here, level, 0, None))
            else:
                steps.append(_Range(start, here, level, 1 if level else 0, None, seen=step.seen))
            if here == end:
                break
            start = (here or "", "")
        if isinstance(steps[0], _Range):
            # Already being read: it goes on, up to where the others begin.
            if len(steps) > 1:
                step.end, step.level, step.directories = steps[0].end, steps[0].level, 0
            step.expected = None
            self._replace(step, [step, *steps[1:]])
        else:
            step.done, step.end = True, step.start[0]
            self._replace(step, [step, *steps])

    def _divide_by_digits(self, step: _Range, keys: list[str]) -> None:
        """Cut what is left of a long directory where the leading digits of its names change.

        The last page tells how many entries share so many of them.
        """
        last = step.start[0]
        ancestors = self._ancestors(last)
        above = min(step.level % _BY_DIGITS, len(ancestors) - 1)
        directory = ancestors[above]
        match = _DIGITS.match(last, len(directory))
        if not match:
            return
        for cut in range(len(directory) + 1, match.end() + 1):
            end = bisect_left(keys, last[:cut])
            begin = bisect_left(keys, keys[end - 1][:cut], 0, end) if end else 0
            if begin:
                break
        else:
            return
        level = _BY_DIGITS * (cut - len(directory)) + above
        fixed = max(len(directory), cut - 3)
        alphabet = "0123456789" if match[0].isdecimal() else "0123456789abcdef"
        guessed = (last[:fixed] + "".join(digits) for digits in product(alphabet, repeat=cut - fixed))
        names = deque(name for name in guessed if name > last[:cut] and _within(name, step.end))
        if names:
            self._sizes[level] = (end - begin) * PAGE / len(keys)
            rest = _Names(step.start, step.end, directory, level, names)
            step.done, step.end = True, last
            self._replace(step, [step, rest])


def _has_come(step: _Step) -> bool:
    return isinstance(step, _Range) and (step.done or bool(step.ready))


def _rest(step: _Names, end: str | None) -> list[_Step]:
    if not step.names:
        return []
    return [_Names((end or "", ""), step.end, step.directory, step.level, step.names)]


def _fills_pages(entries: float, more: float) -> bool:
    """Whether so many entries fill a few pages well, and as many `more` would begin another page."""
    pages, rest = divmod(entries, PAGE)
    return entries >= 2 * PAGE and (rest + more) >= PAGE and (PAGE - rest) / PAGE <= (pages + 1) / 6


def _within(key: str, end: str | None) -> bool:
    return end is None or key <= end


def _past(directory: str) -> str:
    """The least text greater than all that starts with `directory`, which ends with a separator."""
    return directory[:-1] + chr(ord(directory[-1]) + 1)
