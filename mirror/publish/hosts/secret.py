"""A token: from the environment, into one header, and out of every text."""

from __future__ import annotations

import os
from base64 import b64encode
from urllib.parse import quote

from mirror.publish.hosts.failures import HostUnavailable

_HIDDEN = "***"


class Secret:
    """A token, or none. Its `repr` does not tell it."""

    def __init__(self, value: str = "") -> None:
        self._value = value
        self._forms = {value, quote(value, safe="")} - {""}

    @classmethod
    def from_environment(cls, variable: str) -> Secret:
        """The token that this variable has. `HostUnavailable` where it is missing, or cannot be a token."""
        value = os.environ.get(variable, "").strip()
        if not value:
            raise HostUnavailable(f"the environment variable {variable} has no token")
        if not (value.isascii() and value.isprintable() and " " not in value):
            # Said here, not by the HTTP library: its message would hold the token.
            raise HostUnavailable(f"the token in {variable} holds characters that no token has", hint="copy it anew")
        return cls(value)

    def __repr__(self) -> str:
        return "Secret(***)" if self else "Secret()"

    def __bool__(self) -> bool:
        return bool(self._value)

    def reveal(self) -> str:
        """The token itself: for a header, nothing else."""
        return self._value

    def basic(self, user: str) -> str:
        """What an `Authorization` header says with this as the password; a token that names its user says so itself."""
        both = self._value if ":" in self._value else f"{user}:{self._value}"
        encoded = b64encode(both.encode()).decode()
        self._forms |= {encoded, both.partition(":")[2]} - {""}
        return f"Basic {encoded}"

    def hide(self, text: str) -> str:
        """`text` without the token, in any form we ever give it."""
        for form in sorted(self._forms, key=len, reverse=True):
            text = text.replace(form, _HIDDEN)
        return text
