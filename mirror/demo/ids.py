"""Where the demo archive's identifiers come from: chance, or a seed."""

from __future__ import annotations

import random
import string
import threading
from base64 import b64encode

_BASE64_LETTERS = f"{string.ascii_uppercase}{string.ascii_lowercase}{string.digits}+/".encode()
_VERSION_ID_LETTERS = bytes.maketrans(_BASE64_LETTERS, f"{string.ascii_letters}{string.digits}._".encode())


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
        # Six bits a letter, the lowest first; base64 does the same from the other end, ten times as fast.
        return b64encode(bits.to_bytes(24))[::-1].translate(_VERSION_ID_LETTERS).decode()
