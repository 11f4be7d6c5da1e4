"""What programs complain of, read: git tells apart in words alone what went wrong at the other end.

The words are git's own (in English, see `mirror.git.process`), those of ssh, and those of hosts that speak through it.
"""

from __future__ import annotations

import re
from enum import Enum, auto

_AT_MOST = 400  # characters of what was said


class Complaint(Enum):
    NOT_ATOMIC = auto()
    NOT_LET_IN = auto()
    LIMITED = auto()
    REDIRECTED = auto()
    OUT_OF_REACH = auto()
    MISSING = auto()
    BROKEN_OFF = auto()


def complaint(said: str) -> Complaint | None:
    """Which one it is; None for one that we do not know."""
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.search(said)), None)


def spoken(text: str) -> str:
    """What a program complained of, in one line: without the advice that git adds."""
    lines = [line.strip() for line in text.splitlines()]
    useful = [
        line for line in lines if line and not line.startswith(("hint:", "Please make sure", "and the repository"))
    ]
    return shortened(" ".join(useful)) or "it did not say why"


def shortened(text: str, most: int = _AT_MOST) -> str:
    """The first sentences of `text`, or else its first words."""
    if len(text) <= most:
        return text
    begin = text[:most]
    sentences = begin.rpartition(". ")[0]
    return f"{sentences}. …" if len(sentences) > most // 2 else f"{begin.rpartition(' ')[0] or begin} …"


def fit_to_tell(text: str) -> str:
    """`text` as it can be written and shown: no half characters, nothing that a terminal would obey."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def lock_in_the_way(said: str) -> str | None:
    """The lock file that git stumbled over, if that was it."""
    found = _LOCK.search(" ".join(said.replace("remote:", " ").split()))
    return (found[1] or f"{found[2]}.lock").replace("/./", "/") if found else None


_LOCK = re.compile(r"Unable to create '([^']+\.lock)': File exists|could not lock config file (.+?): File exists")

_WORDS = {
    Complaint.NOT_ATOMIC: ("does not support --atomic push",),
    Complaint.NOT_LET_IN: (
        *("authentication failed", "could not read (username|password)", r"returned error: 401\b"),
        *(r"permission denied \(", "host key verification failed"),
        *("server certificate verification failed", "ssl certificate problem"),
    ),
    Complaint.LIMITED: (r"returned error: 429\b",),
    Complaint.REDIRECTED: (r"returned error: 30[1278]\b", "unable to update url base from redirection"),
    Complaint.OUT_OF_REACH: (
        *("ssh: connect to host", "could not resolve host", "failed to connect", "network is unreachable"),
        *("no route to host", "kex_exchange_identification"),
    ),
    Complaint.MISSING: (
        *("repository '.*' not found", "repository not found", "does not appear to be a git repository"),
        *("could not be found", "cannot find repository", "repository .* does not exist", "no such project"),
    ),
    Complaint.BROKEN_OFF: (
        *(r"returned error: 5\d\d\b", r"returned error: 408\b", "unexpected disconnect", "early eof"),
        *("hung up unexpectedly", "broken pipe", "rpc failed", "empty reply from server", "operation too slow"),
        *("connection reset", "connection closed", "(connection|operation) timed out"),
    ),
}
"""In the order in which they are looked for: a connection that was closed follows upon many a complaint."""

_PATTERNS = {kind: re.compile("|".join(words), re.IGNORECASE) for kind, words in _WORDS.items()}
