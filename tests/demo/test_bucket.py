"""The bucket's listings, against a plain reading of S3's rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirror.demo.bucket import Bucket, Listed
from mirror.demo.clock import Clock
from mirror.demo.ids import Ids

KEYS = st.text(alphabet="ab/é\U0001f9e0", min_size=1, max_size=5)
STEPS = st.lists(st.tuples(KEYS, st.booleans()), max_size=25)


def bucket_of(steps: list[tuple[str, bool]]) -> Bucket:
    """A bucket after writing (True) and deleting (False) keys in this order."""
    bucket = Bucket("b", Clock(), Ids(1))
    for number, (key, written) in enumerate(steps):
        if written:
            bucket.put(key, b"%d" % number)
        else:
            bucket.delete(key)
    return bucket


def grouped(keys: list[str], prefix: str, delimiter: str) -> list[str]:
    """Keys and common prefixes, in the order of their UTF-8 bytes."""
    names = set()
    for key in keys:
        if key.startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            names.add(key if end < 0 else key[: end + 1])
    return sorted(names, key=str.encode)


@given(STEPS, st.sampled_from(["", "a", "a/", "é"]), st.sampled_from(["", "/"]), KEYS | st.just(""))
def test_current_objects(steps: list[tuple[str, bool]], prefix: str, delimiter: str, after: str) -> None:
    bucket = bucket_of(steps)
    latest = dict(steps)
    keys = [key for key, written in latest.items() if written and key > after]
    expected = [name for name in grouped(keys, prefix, delimiter) if name > after]
    page = bucket.list_objects(prefix=prefix, delimiter=delimiter, after=after)
    assert [entry.key for entry in page.entries] == expected
    assert not page.truncated


@given(STEPS, st.sampled_from(["", "a"]), st.sampled_from(["", "/"]), st.integers(1, 4))
def test_pages_of_objects_make_up_the_whole(
    steps: list[tuple[str, bool]], prefix: str, delimiter: str, limit: int
) -> None:
    bucket = bucket_of(steps)
    whole = bucket.list_objects(prefix=prefix, delimiter=delimiter).entries
    found: list[Listed] = []
    truncated, after = True, ""
    while truncated:
        page = bucket.list_objects(prefix=prefix, delimiter=delimiter, after=after, limit=limit)
        found, truncated = found + page.entries, page.truncated
        after = found[-1].key if found else ""
    assert found == whole


@given(STEPS, st.sampled_from(["", "a"]), st.sampled_from(["", "/"]), st.integers(1, 4))
def test_pages_of_versions_make_up_the_whole(
    steps: list[tuple[str, bool]], prefix: str, delimiter: str, limit: int
) -> None:
    bucket = bucket_of(steps)
    whole = bucket.list_versions(prefix=prefix, delimiter=delimiter).entries
    found: list[Listed] = []
    truncated, key, version = True, "", ""
    while truncated:
        page = bucket.list_versions(
            prefix=prefix, delimiter=delimiter, key_marker=key, version_marker=version, limit=limit
        )
        found, truncated = found + page.entries, page.truncated
        if found:
            key, version = found[-1].key, found[-1].version.version_id if found[-1].version else ""
    assert found == whole


@given(STEPS)
def test_every_version_is_listed_newest_first(steps: list[tuple[str, bool]]) -> None:
    bucket = bucket_of(steps)
    entries = bucket.list_versions().entries
    expected = [
        (key, written)
        for key in sorted({key for key, _ in steps}, key=str.encode)
        for at, written in reversed(steps)
        if at == key
    ]
    assert [(entry.key, not entry.version.is_delete_marker) for entry in entries if entry.version] == expected
    latest = {entry.key: entry for entry in entries if entry.is_latest}
    assert latest.keys() == {key for key, _ in steps}


@given(STEPS, st.sampled_from(["", "a", "a/", "é"]))
def test_keys_are_those_that_were_ever_written_or_deleted(steps: list[tuple[str, bool]], prefix: str) -> None:
    expected = sorted({key for key, _ in steps if key.startswith(prefix)}, key=str.encode)
    assert bucket_of(steps).keys(prefix) == expected


def test_a_seed_gives_the_same_version_ids_for_ever() -> None:
    """What was made with a seed once is compared with what is made with it today."""
    ids = Ids(3)
    assert [ids.s3_version() for _ in range(2)] == [
        "9_Z68iju3EPsBk1IPn2yHqAy16v9BTN6",
        "9dOMA6PKBLNP08cO9JRSuM9FgdrpsIWM",
    ]


@given(STEPS)
def test_a_bucket_whose_versions_are_all_deleted_is_empty(steps: list[tuple[str, bool]]) -> None:
    bucket = bucket_of(steps)
    for entry in bucket.list_versions().entries:
        assert entry.version is not None
        assert bucket.delete_version(entry.key, entry.version.version_id) is entry.version
    assert len(bucket) == 0
    assert bucket.list_versions().entries == []
