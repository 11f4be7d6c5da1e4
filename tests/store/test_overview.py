"""What a store tells of itself, from its marks or, where these are lost, from its repositories."""

from __future__ import annotations

import pytest

from mirror.dataset.commits import Changes, CommitFacts
from mirror.git.objects import COMMIT, MODE_FILE, TAG, Commit, Entry, Signature, Tag
from mirror.git.trees import edit_tree
from mirror.store.overview import overview
from mirror.store.state import DandisetState, Drift, Failure, Holding
from mirror.store.store import Store

WHO = Signature("dandi-mirror", "dandi-mirror@users.invalid", 1_795_188_857)


@pytest.fixture
def draft(store: Store) -> str:
    """The commit of a small draft of 000027, with one release."""
    repository = store.create_repository("000027")
    with repository.writer() as pack, repository.objects(pack) as objects:
        tree = edit_tree(objects, pack, None, [(b"dandiset.yaml", Entry(MODE_FILE, pack.add_blob(b"x")))])
        assert tree is not None
        facts = CommitFacts("000027", "draft", Changes(1, 0, 0), 12, 3456, "1", modified="2026-11-20T15:34:17Z")
        commit = pack.add(COMMIT, Commit(tree, (), WHO, WHO, facts.message()).encode())
        tag = pack.add(TAG, Tag(commit, COMMIT, "0.261120.1534", WHO, "x\n").encode())
        updates = {
            "refs/heads/draft": commit,
            "refs/tags/0.261120.1534": tag,
            "refs/tags/doi/10.48324/dandi.000027/0.261120.1534": commit,
        }
        repository.publish(pack, updates)
    store.publish_alias("000027")
    return commit.hex()


def test_without_marks_the_repository_is_asked(store: Store, draft: str) -> None:
    (row,) = overview(store)
    assert row.state == DandisetState(identifier="000027")
    assert row.holding == Holding(draft, ("0.261120.1534",), "2026-11-20T15:34:17Z", 12, 3456)
    assert row.path == str(store.alias("000027"))


def test_marks_of_the_present_draft_are_believed(store: Store, draft: str) -> None:
    marked = Holding(draft, ("0.261120.1534",), "2026-11-20T15:34:18Z", 12, 3456)
    store.save_state(DandisetState(identifier="000027", holding=marked))
    (row,) = overview(store)
    assert row.holding == marked


def test_marks_of_another_draft_are_not(store: Store, draft: str) -> None:
    store.save_state(DandisetState(identifier="000027", holding=Holding("0" * 40, (), "never", 1, 1)))
    (row,) = overview(store)
    assert row.holding is not None
    assert (row.holding.draft, row.holding.assets) == (draft, 12)


def test_what_failed_at_its_first_sync_is_shown_too(store: Store) -> None:
    failure = Failure("Unreachable", "no answer", "2026-11-20T15:34:17+00:00", "2026-11-20T15:34:17+00:00")
    store.save_state(DandisetState(identifier="000003", failure=failure))
    (row,) = overview(store)
    assert row.holding is None
    assert row.state.failure == failure


@pytest.mark.usefixtures("draft")
def test_only_those_named_are_shown(store: Store) -> None:
    store.save_state(DandisetState(identifier="000003"))
    assert [row.state.identifier for row in overview(store)] == ["000003", "000027"]
    assert [row.state.identifier for row in overview(store, ["000027"])] == ["000027"]


def test_marks_come_back_as_they_were_saved(store: Store) -> None:
    state = DandisetState(
        identifier="000027",
        layout="1",
        draft_modified="2026-11-20T15:34:17Z",
        versions={"0.1": "2026-11-20T15:34:17Z"},
        pending=3,
        waiting={"0.2": "has no DOI yet"},
        warnings=("Zoë 😀",),
        drift=(Drift("0.1", "dandiset.yaml.name", "a", "b"), Drift("0.2", "created", "x", "y", disorder=True)),
        leaving={"https://example.org/blob?versionId=x": "SHA256E-s1--0"},
        failure=Failure("Moving", "kept changing", "then", "now", 7),
    )
    store.save_state(state)
    assert store.state("000027") == state
    assert Store.open(store.root).state("000027") == state


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"identifier": "000003"}', b'{"identifier": 5}'])
def test_marks_that_cannot_be_read_are_none(store: Store, body: bytes) -> None:
    (store.root / "state" / "dandisets" / "000027.json").write_bytes(body)
    assert store.state("000027") == DandisetState(identifier="000027")
