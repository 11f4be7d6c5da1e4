"""A thing of the archive is understood by whatever people call it, and what is not understood is said to be so."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.dataset.names import tree_path
from mirror.dataset.references import (
    AssetRef,
    BlobRef,
    CommitRef,
    DandisetRef,
    DoiParts,
    DoiRef,
    KeyRef,
    PathRef,
    Reference,
    Sha256Ref,
    UuidRef,
    ZarrRef,
    parse,
)
from mirror.errors import PathRefused, UsageError

VERSION = "0.230629.1955"
UUID = "2c57d0e2-3cf4-4be9-8c36-0dc2f1e6c5a1"
SHA256 = "cb41b38387d6fca01272be03380f63568fccbd724c299ae58e8d548d91b67a58"
COMMIT = "b98c709a27a02792734d5b797a5d951306e9c065"
API = "https://api.dandiarchive.org/api"
BUCKET = "https://dandiarchive.s3.amazonaws.com"


# --- Dandisets and versions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"10.48324/dandi.000003/{VERSION}",
        f"doi:10.48324/dandi.000003/{VERSION}",
        f"DOI: 10.48324/dandi.000003/{VERSION}",
        f"https://doi.org/10.48324/dandi.000003/{VERSION}",
        f"http://dx.doi.org/10.48324/DANDI.000003/{VERSION}",
        f"doi.org/10.48324/dandi.000003/{VERSION}",
        f"https://doi.org/10.48324%2Fdandi.000003%2F{VERSION}",
        f"  https://www.doi.org/10.48324/dandi.000003/{VERSION}/\n",
    ],
)
def test_a_doi_is_understood_however_it_is_written(text: str) -> None:
    doi = parse(text)
    assert doi == DoiRef(f"10.48324/dandi.000003/{VERSION}")
    assert isinstance(doi, DoiRef)
    assert doi.parts == DoiParts("10.48324/dandi.", "000003", VERSION)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("10.48324/dandi.000003", DoiParts("10.48324/dandi.", "000003", None)),
        (f"10.80507/dandi.000003/{VERSION}", DoiParts("10.80507/dandi.", "000003", VERSION)),
        (f"10.80507/dandi-sandbox.000003/{VERSION}", DoiParts("10.80507/dandi-sandbox.", "000003", VERSION)),
        ("10.1038/s41586-020-2649-2", None),
    ],
)
def test_what_a_doi_says_is_read_off_it_where_it_has_the_archives_form(text: str, parts: DoiParts | None) -> None:
    doi = parse(text)
    assert isinstance(doi, DoiRef)
    assert doi.parts == parts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("000003", DandisetRef("000003")),
        ("3", DandisetRef("000003")),
        (f"000003@{VERSION}", DandisetRef("000003", VERSION)),
        (f"000003/{VERSION}", DandisetRef("000003", VERSION)),
        ("000003/draft", DandisetRef("000003", "draft")),
        ("000003/", DandisetRef("000003")),
        (f" 000003/{VERSION}/\n", DandisetRef("000003", VERSION)),
        ("DANDI:000003", DandisetRef("000003", None, "DANDI")),
        ("dandi:3", DandisetRef("000003", None, "DANDI")),
        (f"DANDI:000003/{VERSION}", DandisetRef("000003", VERSION, "DANDI")),
        (f"DANDI-SANDBOX:000003/{VERSION}", DandisetRef("000003", VERSION, "DANDI-SANDBOX")),
        (f"https://identifiers.org/DANDI:000003/{VERSION}", DandisetRef("000003", VERSION, "DANDI")),
        ("http://identifiers.org/dandi/DANDI:000003", DandisetRef("000003", None, "DANDI")),
        (f"dandi://dandi/000003@{VERSION}", DandisetRef("000003", VERSION, "DANDI")),
        ("dandi://dandi-sandbox/000003/", DandisetRef("000003", None, "DANDI-SANDBOX")),
        ("https://dandiarchive.org/dandiset/000003", DandisetRef("000003", None, "dandiarchive.org")),
        ("https://dandiarchive.org/dandiset/000003/draft", DandisetRef("000003", "draft", "dandiarchive.org")),
        (f"http://localhost:8085/dandiset/000003/{VERSION}/", DandisetRef("000003", VERSION, "localhost:8085")),
        (
            f"https://dandiarchive.org/dandiset/000003/{VERSION}/files?location=&page=1",
            DandisetRef("000003", VERSION, "dandiarchive.org"),
        ),
        ("https://dandiarchive.org/dandiset/000003/files", DandisetRef("000003", None, "dandiarchive.org")),
        (
            f"https://gui.dandiarchive.org/#/dandiset/000003/{VERSION}",
            DandisetRef("000003", VERSION, "gui.dandiarchive.org"),
        ),
        (f"{API}/dandisets/000003/", DandisetRef("000003", None, "api.dandiarchive.org")),
        (f"{API}/dandisets/000003/versions/{VERSION}/", DandisetRef("000003", VERSION, "api.dandiarchive.org")),
        (f"{API}/dandisets/000003/versions/draft/info/", DandisetRef("000003", "draft", "api.dandiarchive.org")),
        (f"{API}/dandisets/000003/versions/", DandisetRef("000003", None, "api.dandiarchive.org")),
        (
            f"{BUCKET}/dandisets/000003/{VERSION}/assets.yaml",
            DandisetRef("000003", VERSION, "dandiarchive.s3.amazonaws.com"),
        ),
        ("ria+file:///data/dandi/public#~000003", DandisetRef("000003")),
        (f"ria+https://mirror.example.org/dandi#~000003@{VERSION}", DandisetRef("000003", VERSION)),
        ("/data/dandi/public/alias/000003", DandisetRef("000003")),
        ("https://mirror.example.org/dandi/alias/000003", DandisetRef("000003")),
        (
            f"ria+https://mirror.example.org/dandi#~000003@doi/10.48324/dandi.000003/{VERSION}",
            DoiRef(f"10.48324/dandi.000003/{VERSION}"),
        ),
    ],
)
def test_a_dandiset_is_understood_by_identifier_and_by_address(text: str, expected: Reference) -> None:
    assert parse(text) == expected


# --- files, contents, ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sub-1/x.nwb", PathRef("sub-1/x.nwb")),
        ("./sub-1/x.nwb", PathRef("sub-1/x.nwb")),
        ("README.md", PathRef("README.md")),
        ("./000003", PathRef("000003")),
        ("sub-1/odd name [1] & (2).bin", PathRef("sub-1/odd name [1] & (2).bin")),
        ("0000027", PathRef("0000027")),
        ("000003/sub-1/x.nwb", PathRef("sub-1/x.nwb", "000003")),
        (f"000003/{VERSION}/sub-1/x.nwb", PathRef("sub-1/x.nwb", "000003", VERSION)),
        (f"000003@{VERSION}/sub-1/x.nwb", PathRef("sub-1/x.nwb", "000003", VERSION)),
        (f"000003@/{VERSION}/x.nwb", PathRef(f"{VERSION}/x.nwb", "000003")),
        (f"dandi://dandi/000003@{VERSION}/sub-1/x%20y.nwb", PathRef("sub-1/x y.nwb", "000003", VERSION, "DANDI")),
        ("dandi://dandi/000003/sub-1/", PathRef("sub-1", "000003", None, "DANDI")),
        (
            f"https://dandiarchive.org/dandiset/000003/{VERSION}/files?location=sub-1%2Fx.nwb&page=2",
            PathRef("sub-1/x.nwb", "000003", VERSION, "dandiarchive.org"),
        ),
        (
            "https://dandiarchive.org/dandiset/000003/files?location=sub-1/",
            PathRef("sub-1", "000003", None, "dandiarchive.org"),
        ),
        (f"{API}/assets/{UUID}/download/", AssetRef(UUID)),
        (f"{API}/dandisets/000003/versions/draft/assets/{UUID.upper()}/", AssetRef(UUID)),
        (f"dandiasset:{UUID}", AssetRef(UUID)),
        (f"{BUCKET}/blobs/2c5/7d0/{UUID}", BlobRef(UUID)),
        (f"{BUCKET}/blobs/2c5/7d0/{UUID}?versionId=abc.def_1", BlobRef(UUID)),
        (f"s3://dandiarchive/blobs/2c5/7d0/{UUID}", BlobRef(UUID)),
        (f"blobs/2c5/7d0/{UUID}", BlobRef(UUID)),
        (f"{BUCKET}/zarr/{UUID}/0/0/.zarray", ZarrRef(UUID, "0/0/.zarray")),
        (f"s3://dandiarchive/zarr/{UUID}/", ZarrRef(UUID)),
        (f"{API}/zarr/{UUID}/", ZarrRef(UUID)),
        (UUID.upper(), UuidRef(UUID)),
        (f"ria+file:///data/dandi/public#~{UUID}@0a1b2c-3--45", UuidRef(UUID)),
        (SHA256.upper(), Sha256Ref(SHA256)),
        (f"sha256:{SHA256}", Sha256Ref(SHA256)),
        (f"SHA256E-s3--{SHA256}.nwb", KeyRef(f"SHA256E-s3--{SHA256}.nwb")),
        ("MD5E-s2--99914b932bd37a50b983c5e7c90ae93b", KeyRef("MD5E-s2--99914b932bd37a50b983c5e7c90ae93b")),
        (
            f"../.git/annex/objects/f7/9p/SHA256E-s3--{SHA256}.nwb/SHA256E-s3--{SHA256}.nwb",
            KeyRef(f"SHA256E-s3--{SHA256}.nwb"),
        ),
        (COMMIT, CommitRef(COMMIT)),
        ("dandisets", PathRef("dandisets")),
    ],
)
def test_a_file_is_understood_by_path_content_id_and_address(text: str, expected: Reference) -> None:
    assert parse(text) == expected


# --- what is none --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", "/etc/passwd", "sub-1//x.nwb", "../x.nwb", "a\0b", "DANDI:", "DANDI:abc", "doi:abc"),
        *("https://example.org/", "https://[::1/x", "000003/../x", "sha256:abc", "dandi://dandi/000003/a//b"),
        "a lone surrogate \udcff",
        *(f"zarr/{UUID}/..", f"s3://dandiarchive/zarr/{UUID}/0/%00", f"zarr/{UUID}/a//b"),
    ],
)
def test_what_is_none_of_them_is_a_usage_error_that_says_what_is_understood(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    if "address" not in str(caught.value):
        assert "a Dandiset or a version (DANDI:000003, " in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["a/" * 2048 + "a", "é" * 2049, f"zarr/{UUID}/{'a' * 4097}", "a" * 5_000_000])
def test_what_is_longer_than_any_path_is_refused_at_once_and_shown_in_part(text: str) -> None:
    with pytest.raises(UsageError, match="is longer than any path of an archive") as caught:
        parse(text)
    assert len(str(caught.value)) < 200


def test_a_path_as_long_as_they_may_be_is_understood_even_where_it_is_quoted() -> None:
    reference = PathRef("é" * 2048, "000003", VERSION, "dandiarchive.org")
    assert parse(str(reference)) == reference


# --- properties ----------------------------------------------------------------------------------------------------


def _is_path(text: str) -> bool:
    try:
        tree_path(text)
    except PathRefused:
        return False
    return True


hexadecimal = st.text("0123456789abcdef", min_size=64, max_size=64)
identifiers = st.from_regex(r"[0-9]{6}", fullmatch=True)
versions = st.sampled_from(["draft", VERSION, "1", "0.1-rc_2"])
paths = st.text(min_size=1).filter(_is_path)
archives = st.sampled_from([None, "DANDI", "DANDI-SANDBOX", "dandiarchive.org", "localhost:8085", "[::1]:80"])
uuids = st.uuids().map(str)
references = st.one_of(
    st.builds(DandisetRef, identifiers, st.none() | versions, archives),
    st.builds(PathRef, paths),
    st.builds(PathRef, paths, identifiers, st.none() | versions, archives),
    st.builds(DoiRef, st.from_regex(r"10\.[0-9]{4,9}/[a-z0-9.]+(/[a-z0-9.]+)?", fullmatch=True)),
    st.builds(UuidRef, uuids),
    st.builds(AssetRef, uuids),
    st.builds(BlobRef, uuids),
    st.builds(ZarrRef, uuids, st.just("") | paths.filter(lambda path: path == path.strip())),
    st.builds(Sha256Ref, hexadecimal),
    st.builds(KeyRef, hexadecimal.map(lambda digest: f"SHA256E-s3--{digest}.nii.gz")),
    st.builds(CommitRef, hexadecimal.map(lambda digest: digest[:40])),
)


@given(references)
@example(PathRef("x#1?y&z", "000003", None, "DANDI"))
@example(PathRef("x#1?y&z+%20", "000003", VERSION, "dandiarchive.org"))
@example(PathRef("0.1.2/x", "000003"))
@example(PathRef("x \r", "000003"))
@example(PathRef("versions/x", "000003", None, "dandiarchive.org"))
def test_the_text_of_a_reference_reads_back_as_the_same(reference: Reference) -> None:
    assert parse(str(reference)) == reference


parts = st.sampled_from(
    [
        *(
            "DANDI",
            ":",
            "/",
            "//",
            "@",
            "#",
            "?",
            "000003",
            VERSION,
            "doi",
            "10.48324",
            "dandi.",
            "https:",
            "ria+file:",
        ),
        *(
            UUID,
            SHA256,
            COMMIT,
            "blobs",
            "zarr",
            "dandiset",
            "files",
            "location=",
            "%2F",
            "%",
            "SHA256E-s3--",
            "..",
            " ",
        ),
        *("api/dandisets/", "versions/", "/public/alias/", "annex/objects/", "#~", "[", "\n"),
    ]
)


@given(st.text() | st.lists(parts | st.text(max_size=3)).map("".join))
def test_any_text_is_understood_or_a_usage_error(text: str) -> None:
    try:
        reference = parse(text)
    except UsageError:
        return
    assert parse(str(reference)) == reference
