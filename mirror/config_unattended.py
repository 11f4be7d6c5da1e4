"""The settings of what runs unattended: when what is done, and who is told of it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from mirror.config_values import Expects, Section
from mirror.timetable import checked, interval_seconds

_WHEN = "an interval, such as 10m, or a cron expression, such as `0 2 * * *`"
_DEFAULTS = ("10m", "0 2 * * *", "0 4 * * *", "1h", "0 3 * * *")


def _when(text: str) -> str:
    # Looking at a cron expression takes a tenth of a second: not for those that are known to be right.
    return text if text in _DEFAULTS else checked(" ".join(text.split()))


def _duration(text: str) -> str:
    if interval_seconds(text) is None:
        raise ValueError("it is a number with a unit, such as 30s or 5m; 0s: none")
    return text


When = Annotated[str, AfterValidator(_when)]


class Schedule(Section):
    """When `dandi-mirror run` does what. Times of cron expressions are the machine's local ones."""

    poll: Annotated[When, Expects(_WHEN), Field(description="mirror what is new, and publish it")] = "10m"
    recheck: Annotated[
        When, Expects(_WHEN), Field(description="re-read a share of all Dandisets in full, whatever their times say")
    ] = "0 2 * * *"
    recheck_days: Annotated[
        int,
        Field(strict=True, ge=1),
        Expects("a whole number, 1 or more"),
        Field(description="in so many days, each Dandiset is re-read in full once at least"),
    ] = 30
    maintain: Annotated[When, Expects(_WHEN), Field(description="repack what needs it, prune, check the index")] = (
        "0 4 * * *"
    )
    content: Annotated[
        When, Expects(_WHEN), Field(description="fetch and drop content, as the rules of `content` say")
    ] = "1h"
    verify: Annotated[
        When | None,
        Expects(f"{_WHEN}, or null"),
        Field(description="prove a share of all names, addresses and content; null: never"),
    ] = "0 3 * * *"
    verify_days: Annotated[
        int,
        Field(strict=True, ge=1),
        Expects("a whole number, 1 or more"),
        Field(description="in so many days, everything is proved once at least"),
    ] = 90
    jitter: Annotated[
        str,
        AfterValidator(_duration),
        Expects("a time such as 30s, or 0s"),
        Field(
            description="each start is put off by a random time up to this, an interval's by a tenth of it at most:"
            " not all mirrors shall ask at once"
        ),
    ] = "30s"

    @property
    def jitter_seconds(self) -> float:
        return interval_seconds(self.jitter) or 0.0


_DASK = re.compile(r"dask://(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")


def _executor(text: str) -> str:
    if text == "local":
        return text
    found = _DASK.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65_536:
        raise ValueError("no such executor")
    return text


_LOOPBACK = re.compile(r"(?P<host>127(?:\.\d{1,3}){3}|localhost|\[::1\]):(?P<port>\d{1,5})")


def split_address(text: str) -> tuple[str, int]:
    """Host and port of an address as `metrics` has it."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _on_loopback(text: str) -> str:
    found = _LOOPBACK.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65_536:
        raise ValueError("no other machine is answered; a web server can pass it on")
    return text


def _command(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError("there is no command in it")
    return text


Executor = Annotated[str, AfterValidator(_executor)]
MetricsAddress = Annotated[str, AfterValidator(_on_loopback)]
ShellCommand = Annotated[str, AfterValidator(_command)]
