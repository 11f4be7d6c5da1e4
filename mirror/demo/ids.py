"""Where the demo archive's identifiers come from: chance, or a seed."""

from __future__ import annotations

import random
import string
import threading

_VERSION_ID_LETTERS = string.ascii_letters + string.digits + "._"


class Ids:
    """Makes UUIDs and S3 version ids. The same seed gives the same ones in the same order."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def uuid(self) -> str:
        with self._lock:
            bits = self._random.getrandbits(128)
        # The six fixed bits of a version 4 UUID; by hand, because uuid.UUID(version=4) takes thrice as long.
        bits = (bits & ~(0xF << 76) & ~(0x3 << 62)) | (4 << 76) | (0x2 << 62)
        digits = f"{bits:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def urn(self) -> str:
        return f"urn:uuid:{self.uuid()}"

    def s3_version(self) -> str:
        """32 characters, as S3 makes them."""
        with self._lock:
            bits = self._random.getrandbits(192)
        return "".join(_VERSION_ID_LETTERS[bits >> shift & 63] for shift in range(0, 192, 6))
