"""Refs are written in the bytes git itself writes, and read as git reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import StoreError
from mirror.git.refs import Ref, check_name, check_together, parse_packed_refs, render_info_refs, render_packed_refs
from mirror.git.repository import Repository

Git = Callable[..., str]

oids = st.binary(min_size=20, max_size=20)
names = st.text("ab-./é", min_size=1).map(lambda rest: f"refs/{rest}")


@given(st.dictionaries(names, st.builds(Ref, oids, st.none() | oids)))
def test_packed_refs_survive_the_round_trip(refs: dict[str, Ref]) -> None:
    assert parse_packed_refs(render_packed_refs(refs)) == (refs, True)


def test_the_bytes_are_those_of_git(repository: Repository, author: Any, git: Git) -> None:
    author.publish({b"a": b"1"})
    git("tag", "-a", "-m", "m", "1.0", "draft")
    git("tag", "-a", "-m", "m", "of-a-tag", "1.0")
    git("tag", "light/weight", "draft")
    git("branch", "refs-é", "draft")
    git("pack-refs", "--all", "--prune")
    git("update-server-info")
    packed = (repository.path / "packed-refs").read_bytes()
    refs = parse_packed_refs(packed).refs
    assert render_packed_refs(refs) == packed
    assert render_info_refs(refs) == (repository.path / "info" / "refs").read_bytes()
    assert repository.repair() == []


def test_old_packed_refs_without_peeled_tags() -> None:
    old = b"1" * 40 + b" refs/tags/1.0\n"
    assert parse_packed_refs(old) == ({"refs/tags/1.0": Ref(b"\x11" * 20)}, False)
    assert parse_packed_refs(b"# pack-refs with: peeled \n" + old).fully_peeled is False


@pytest.mark.parametrize("broken", [b"1234 refs/heads/a\n", b"^" + b"1" * 40 + b"\n", b"\0" * 60, b"1" * 40 + b"\n"])
def test_a_broken_line_is_an_error(broken: bytes) -> None:
    with pytest.raises(StoreError, match="packed-refs"):
        parse_packed_refs(broken)


@pytest.mark.parametrize(
    "name",
    [
        "refs/heads/draft",
        "refs/tags/doi/10.48324/dandi.000003/0.230629.1955",
        "refs/heads/é",
        "refs/heads/a@b",
        "refs/heads/a.lockb",
        "refs/heads/-a",
        "refs/heads/.a",
        "refs/heads/a.lock",
        "refs/heads/a.lock/b",
        "refs/heads/a..b",
        "refs/heads/a//b",
        "refs/heads/a/",
        "refs/heads/a.",
        "refs/heads/a b",
        "refs/heads/a~1",
        "refs/heads/a:b",
        "refs/heads/@{a",
        "refs/heads/a\x7f",
        "refs/heads/a\n",
        "refs/heads/a\\b",
        "refs/heads/[a",
    ],
)
def test_names_are_accepted_as_git_accepts_them(name: str, run: Git) -> None:
    try:
        check_name(name)
    except ValueError:
        run("check-ref-format", name, ok=False)
    else:
        run("check-ref-format", name)


@pytest.mark.parametrize("name", ["HEAD", "refs/stash"])
def test_only_refs_in_a_namespace_are_ours_to_make(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        check_name(name)


def test_a_ref_cannot_be_a_folder_of_refs() -> None:
    check_together(["refs/heads/a", "refs/heads/ab", "refs/heads/a-/b", "refs/stash"])
    with pytest.raises(ValueError, match="cannot hold both"):
        check_together(["refs/heads/a/b/c", "refs/heads/a"])
