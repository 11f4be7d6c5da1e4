"""Where a key lies: on the `git-annex` branch, and in a repository's `annex/objects`.

Both are two levels of folders from the MD5 of the key, in two spellings: lower case hex on the branch, and a mixed case
alphabet for the objects, which is what a symlink in the work tree points to.
"""

from __future__ import annotations

from hashlib import md5

_ALPHABET = "0123456789zqjxkmvwgpfZQJXKMVWGPF"
_OBJECTS = b".git/annex/objects/"

# A mixed case folder is two letters for bits 6-10 and 0-4 of a number, so 11 bits tell which.
_FOLDERS = [(_ALPHABET[bits >> 6 & 31] + _ALPHABET[bits & 31]).encode() for bits in range(1 << 11)]


def lower(key: str) -> bytes:
    """The folder of a key's logs on the `git-annex` branch: `073/da5`."""
    digits = md5(key.encode(), usedforsecurity=False).hexdigest()
    return f"{digits[:3]}/{digits[3:6]}".encode()


def places(key: bytes) -> tuple[bytes, bytes]:
    """Both folders of a key at once: the first as its six hex digits in a row, for whoever sorts a million by it."""
    digest = md5(key, usedforsecurity=False).digest()
    return digest[:3].hex().encode(), _of_digest(digest)


def mixed(key: str) -> bytes:
    """The folder of a key's content below `annex/objects`: `f7/9p`."""
    return _mixed(key.encode())


def _mixed(key: bytes) -> bytes:
    return _of_digest(md5(key, usedforsecurity=False).digest())


def _of_digest(digest: bytes) -> bytes:
    word = int.from_bytes(digest[:4], "little")
    return b"%b/%b" % (_FOLDERS[word & 2047], _FOLDERS[word >> 12 & 2047])


def link_target(tree_path: bytes, key: str) -> bytes:
    """What the symlink at `tree_path` holds: the way up to the top, then down to the key's content."""
    name = key.encode()
    return b"%b%b%b/%b/%b" % (b"../" * tree_path.count(b"/"), _OBJECTS, _mixed(name), name, name)
