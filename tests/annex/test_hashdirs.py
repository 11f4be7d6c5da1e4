"""Keys lie where git-annex looks for them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from mirror.annex.hashdirs import link_target, lower, mixed
from mirror.annex.keys import sha256e_key


def test_hash_directories_and_links_are_those_of_git_annex(annex: Any) -> None:
    keys = [sha256e_key("a.é" if n % 2 else "a.nwb", n, sha256(b"%d" % n).hexdigest()) for n in range(1000)]
    answers = annex.annex(
        "examinekey",
        "--batch",
        r"--format=${hashdirlower} ${hashdirmixed} ${objectpath}\n",
        stdin="\n".join(keys).encode() + b"\n",
    ).splitlines()
    ours = [b"%b/ %b/ %b" % (lower(key), mixed(key), link_target(b"a", key)) for key in keys]
    assert ours == answers


def test_a_link_climbs_one_folder_for_each_slash_in_its_path() -> None:
    key = "MD5E-s3--d41d8cd98f00b204e9800998ecf8427e"
    assert link_target(b"a.nwb", key) == f".git/annex/objects/mP/QX/{key}/{key}".encode()
    assert link_target(b"sub-1/ses-2/a.nwb", key) == b"../../" + link_target(b"a.nwb", key)


def test_git_annex_knows_the_links_as_annexed_files(annex: Any) -> None:
    annex.holding({"a.nwb": {}, "sub-1/b.nwb": {}, "sub-1/ses-é/c": {}})
    assert set(annex.answers("find", "--include=*")) == {"a.nwb", "sub-1/b.nwb", "sub-1/ses-é/c"}
