"""URLs that open an object for a while, in the shape S3 has them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta

from mirror.demo.clock import Clock

_STAMP = "%Y%m%dT%H%M%SZ"
_LIFETIME = timedelta(hours=6)


class Signer:
    """Signs keys and checks the signatures. The secret lives as long as this object."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)

    def sign(self, key: str) -> dict[str, str]:
        """The query parameters that let their bearer read `key`."""
        now = self._clock.now()
        parameters = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"DEMO/{now:%Y%m%d}/us-east-2/s3/aws4_request",
            "X-Amz-Date": now.strftime(_STAMP),
            "X-Amz-Expires": str(int(_LIFETIME.total_seconds())),
            "X-Amz-SignedHeaders": "host",
        }
        return {**parameters, "X-Amz-Signature": self._signature(key, parameters["X-Amz-Date"])}

    def problem(self, key: str, parameters: dict[str, str]) -> str | None:
        """S3's error code for a bad signature; None when it is good and fresh."""
        signed = parameters.get("X-Amz-Date", "")
        if not hmac.compare_digest(parameters.get("X-Amz-Signature", ""), self._signature(key, signed)):
            return "SignatureDoesNotMatch"
        if self._clock.now() - datetime.strptime(signed, _STAMP).replace(tzinfo=UTC) > _LIFETIME:
            return "AccessDenied"
        return None

    def _signature(self, key: str, date: str) -> str:
        return hmac.new(self._secret, f"{date} {key}".encode(), hashlib.sha256).hexdigest()
