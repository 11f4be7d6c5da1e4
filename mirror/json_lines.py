"""Objects as lines of JSON, for records, logs, and whoever is handed a report."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_ESCAPES = re.compile(r"\\\\|\\ud[89ab]..\\ud[c-f]..|(?P<half>\\ud[89a-f]..)")


def json_line(told: Mapping[str, Any]) -> str:
    """An object as a line that any reader takes: in ASCII, so that no locale can spoil it, and of whole characters.

    What was no UTF-8, a file's name say, has halves of surrogate pairs here. They are shown as escapes.
    """
    return _ESCAPES.sub(lambda found: f"\\{found[0]}" if found["half"] else found[0], json.dumps(told, default=str))
