"""The query language: what a query matches, its one canonical text, and what is said of a query that is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.columns import columns
from mirror.dataset.facts import Facts
from mirror.dataset.query import FIELDS, Query
from mirror.dataset.query.kinds import Date, Embargo, Number, Size, Text, folded
from mirror.dataset.query.parser import MOST_NESTED
from mirror.dataset.query.terms import Comparison, Presence, Term, all_of, any_of, negated
from mirror.errors import QueryError

FACTS = Facts(
    identifier="000003",
    version="0.230629.1955",
    name="Physiological Properties of Dentate Gyrus Neurons",
    created="2023-06-29T19:55:31.000000Z",
    assets=101,
    size=2_559_248_010_229,
    published="2023-06-29T19:55:30.807473+00:00",
    doi="10.48324/dandi.000003/0.230629.1955",
    description="Recordings\nof mice  that run. ",
    subjects=16,
    license=("spdx:CC-BY-4.0",),
    keywords=("hippocampus", "granule cells"),
    contributors=("Buzsáki, György", "O'Brien, Pat", "National Institutes of Health"),
    funders=("National Institutes of Health",),
    species=("House mouse",),
    species_ids=("http://purl.obolibrary.org/obo/NCBITaxon_10090",),
    approaches=("electrophysiological approach", "behavioral approach"),
    techniques=("spike sorting technique",),
    standards=("Neurodata Without Borders (NWB)",),
)
BARE = Facts(identifier="000004", version="draft", name="", created="some day", assets=0, size=0)


def matches(query: str, facts: Facts = FACTS) -> bool:
    return Query.parse(query).matches(facts)


def with_facts(**changes: Any) -> Facts:
    return msgspec.structs.replace(FACTS, **changes)


def complaint(query: str) -> str:
    """What is said of a query that is wrong."""
    with pytest.raises(QueryError) as caught:
        Query.parse(query)
    assert caught.value.exit_code == 2
    return str(caught.value)


def pointed_at(query: str) -> str:
    """What stands above the caret, and after it."""
    _, shown, caret = complaint(query).splitlines()
    assert caret.lstrip(" ") == "^"
    place = next(n for n in range(len(shown) + 1) if columns(shown[:n]) == len(caret) - 1)
    return shown[place:]


# --- text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "species ~ 'Mus musculus' and approach ~ 'electrophysiological'",
        "approach = 'behavioral approach'",
        "technique ~ sort",
        "license = cc-by-4.0",
        "license = spdx:CC-BY-4.0",
        "licence ~ CC",
        "keyword = 'Granule Cells'",
        "contributor ~ buzsáki",
        "funder ~ health",
        "name ~ 'dentate gyrus'",
        "title ~ 'dentate gyrus'",
        "description = 'recordings of mice that run.'",
        "identifier = 000003",
        "version ~ 0.230629",
        "doi = 10.48324/DANDI.000003/0.230629.1955",
        "standard = NWB",
        "standard = 'neurodata without borders'",
        "standard = 'Neurodata Without Borders (NWB)'",
    ],
)
def test_every_field_of_text_can_be_asked(query: str) -> None:
    assert matches(query)
    assert not matches(query, BARE)


@pytest.mark.parametrize("name", ["House mouse", "Mus musculus - House mouse"])
@pytest.mark.parametrize("query", ["= 'mus musculus'", "~ MOUSE", "= 'House mouse'", "= NCBITaxon_10090"])
def test_a_species_is_found_by_either_name_or_its_identifier_however_the_archive_called_it(
    name: str, query: str
) -> None:
    assert matches(f"species {query}", with_facts(species=(name,)))


@pytest.mark.parametrize(
    "identifier", ["http://purl.obolibrary.org/obo/NCBITaxon_99999999999", "NCBITaxon_²", "RRID:1", "NCBITaxon_1"]
)
def test_a_species_of_which_no_scientific_name_is_known_has_its_own(identifier: str) -> None:
    assert matches("species = axolotl", with_facts(species=("Axolotl",), species_ids=(identifier,)))
    assert not matches("species ~ musculus", with_facts(species=("Axolotl",), species_ids=(identifier,)))


def test_of_many_values_any_may_fit_and_none_must_be_what_is_excluded() -> None:
    assert matches("keyword ~ cells")
    assert matches("keyword = hippocampus")
    assert not matches("keyword = hippo")
    assert not matches("keyword !~ cells")
    assert not matches("keyword != hippocampus")
    assert matches("keyword != hippo")
    assert matches("keyword !~ cortex")


def test_where_there_is_no_text_it_is_not_what_is_asked_for() -> None:
    assert matches("keyword != hippocampus and doi !~ 10.48324", BARE)


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ("Straße", "STRASSE"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("caf\u00e9", "CAFE\u0301"),
        ("İstanbul", "i\u0307stanbul"),
        ("two\u00a0 words", "two\twords"),
    ],
)
def test_case_and_how_accents_and_spaces_are_written_do_not_count(there: str, asked: str) -> None:
    for one, other in ((there, asked), (asked, there)):
        assert matches(f"name = '{one}'", with_facts(name=other))
        assert matches(f"name ~ '{one}'", with_facts(name=f"A {other}!"))


def test_an_accent_counts() -> None:
    assert not matches("contributor ~ buzsaki")


def test_values_need_quotes_only_where_they_would_be_taken_for_something_else() -> None:
    assert matches("contributor ~ 'O''Brien'")
    assert matches('contributor ~ "O\'Brien"')
    assert matches('name ~ """hot"""', with_facts(name='A "hot" topic'))
    assert matches(r"name ~ '\'", with_facts(name=r"C:\data"))
    assert matches("name ~ 'and'", with_facts(name="sand"))
    assert matches("name ~ missing", with_facts(name="Missing fundamentals"))
    assert matches("name~'gyrus'and(doi~10.48324)")


# --- numbers, sizes, dates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("subjects = 16", True),
        ("subjects != 16", False),
        ("subjects < 16", False),
        ("subjects <= 016", True),
        ("subjects > 15", True),
        ("subjects >= 17", False),
        ("assets > 100 and assets < 102", True),
        ("size = 2559248010229", True),
        ("size = 2559248010229B", True),
        ("size > 2.559TB", True),
        ("size >= 2.56 TB", False),
        ("size > 2.5 TB and size<2600gb", True),
        ("size > '2.5 TB'", True),
    ],
)
def test_numbers_and_sizes_are_compared_as_such(query: str, expected: bool) -> None:
    assert matches(query) is expected


@pytest.mark.parametrize(
    ("text", "size"),
    [("10GB", 10**10), ("1.5 TB", 15 * 10**11), ("500MB", 5 * 10**8), ("1.234kB", 1234), ("1pb", 10**15), ("7", 7)],
)
def test_units_are_powers_of_a_thousand(text: str, size: int) -> None:
    assert [matches(f"size = {text}", with_facts(size=size + n)) for n in (-1, 0, 1)] == [False, True, False]


@pytest.mark.parametrize(
    ("date", "first", "last"),
    [
        ("2024", "2024-01-01T00:00:00Z", "2024-12-31T23:59:59.999999Z"),
        ("9999", "9999-01-01T00:00:00Z", "9999-12-31T23:59:59.999998Z"),
        ("2024-02", "2024-02-01T00:00:00Z", "2024-02-29T23:59:59.999999Z"),
        ("2024-12", "2024-12-01T00:00:00Z", "2024-12-31T23:59:59.999999Z"),
        ("2024-05-01", "2024-05-01T00:00:00Z", "2024-05-01T23:59:59.999999Z"),
        ("2024-05-01T12:30", "2024-05-01T12:30:00Z", "2024-05-01T12:30:59.999999Z"),
        ("'2024-05-01 12:30:15Z'", "2024-05-01T12:30:15Z", "2024-05-01T12:30:15.999999Z"),
        ("2024-05-01T00:30+02:00", "2024-04-30T22:30:00Z", "2024-05-01T01:30:59.999999+03:00"),
        ("2024-05-01T12:30:15.5Z", "2024-05-01T12:30:15.5Z", "2024-05-01T12:30:15.599999Z"),
        ("2024-05-01t12:30:15.123456789z", "2024-05-01T12:30:15.123456Z", "2024-05-01T12:30:15.123456Z"),
    ],
)
def test_a_date_means_all_the_time_that_it_names(date: str, first: str, last: str) -> None:
    inside = [with_facts(created=time) for time in (first, last)]
    before, after = with_facts(created="2001-01-01T00:00:00Z"), with_facts(created="9999-12-31T23:59:59.999999Z")

    def which(operator: str) -> list[bool]:
        return [matches(f"created {operator} {date}", facts) for facts in (before, *inside, after)]

    assert which("=") == [False, True, True, False]
    assert which("!=") == [True, False, False, True]
    assert which("<") == [True, False, False, False]
    assert which("<=") == [True, True, True, False]
    assert which(">") == [False, False, False, True]
    assert which(">=") == [False, True, True, True]


def test_the_moments_next_to_a_span_are_outside() -> None:
    assert not matches("created = 2024", with_facts(created="2023-12-31T23:59:59.999999Z"))
    assert not matches("created = 2024", with_facts(created="2025-01-01T00:00:00Z"))
    assert not matches("created = 2024-02", with_facts(created="2024-03-01T00:00:00Z"))


def test_each_date_has_its_field() -> None:
    facts = with_facts(created="2021-01-01T00:00:00Z", modified="2022-01-01T00:00:00Z", published="2023-01-01T00:00:00")
    assert matches("created = 2021 and modified = 2022 and published = 2023", facts)


@pytest.mark.parametrize("operator", ["=", "!=", "<", "<=", ">", ">="])
@pytest.mark.parametrize("test", ["subjects {} 16", "published {} 2023", "modified {} 2023", "created {} 2023"])
def test_a_number_or_date_that_is_missing_or_no_date_passes_no_comparison(test: str, operator: str) -> None:
    assert not matches(test.format(operator), BARE)
    assert matches(f"not {test.format(operator)}", BARE)


# --- embargo, presence, combinations -----------------------------------------------------------------------------


def test_embargo_is_one_of_two() -> None:
    assert matches("embargo = open and embargo != Embargoed and not embargo = embargoed")
    assert matches("embargo = 'embargoed' and embargo != open", with_facts(embargoed=True))


def test_presence_can_be_asked_of_every_field() -> None:
    for field in FIELDS:
        there = "present" if field != "modified" else "missing"
        assert matches(f"{field} is {there}")
    for field in {*FIELDS} - {"identifier", "version", "size", "assets", "embargo"}:
        assert matches(f"{field} IS Missing and not {field} is present", BARE)


def test_not_binds_tighter_than_and_and_and_tighter_than_or() -> None:
    yes, no = "assets = 101", "assets = 0"
    assert matches(f"{yes} or {yes} and {no}")
    assert not matches(f"({yes} or {yes}) and {no}")
    assert matches(f"not {no} and {yes}")
    assert matches(f"NOT ({no} And {no}) aND not not {yes} and not ({no} oR {no})")
    assert not matches(f"{no} or {no} or {no}")


def test_a_query_may_be_written_on_several_lines() -> None:
    assert matches("\n  species ~ mouse\n\tand size > 1TB\n")


# --- the canonical text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("SPECIES~'Mus   Musculus'AND approach!~ \"O'x\"", "species ~ 'mus musculus' and approach !~ 'o''x'"),
        ("licence = CC0", "license = 'cc0'"),
        ("(size > 1500 MB) or ((assets <= 007))", "size > 1.5GB or assets <= 7"),
        ("size > 1234567 or size > 1.2345 GB or size = 0", "size > 1234.567kB or size > 1234.5MB or size = 0B"),
        ("created = 2024 or created = 2024-05 or created = 2024-05-01", None),
        ("created >= '2024-05-01 02:30+02:00'", "created >= 2024-05-01T00:30Z"),
        ("created < 2024-05-01T12:30:15.50", "created < 2024-05-01T12:30:15.50Z"),
        (
            "a" and "doi is MISSING and (size > 1GB and embargo = OPEN)",
            "doi is missing and size > 1GB and embargo = open",
        ),
        ("doi is present or (size>1 or size<1) and not(not(size=1))", None),
        ("not (size > 1 or doi is missing)", "not (size > 1B or doi is missing)"),
    ],
)
def test_the_canonical_text_has_one_spelling(query: str, canonical: str | None) -> None:
    text = str(Query.parse(query))
    assert text == str(Query.parse(text))
    assert Query.parse(query) == Query.parse(text)
    if canonical is not None:
        assert text == canonical


def test_queries_are_equal_when_they_say_the_same_and_keep_their_own_text() -> None:
    one, other = Query.parse("size > 1000MB"), Query.parse("(SIZE>1gb)")
    assert one == other
    assert hash(one) == hash(other)
    assert (one.text, other.text) == ("size > 1000MB", "(SIZE>1gb)")
    assert one != Query.parse("size >= 1GB")


_SPANS = {
    Number: st.integers(0, 10**18 - 1).map(str),
    Size: st.integers(0, 10**18 - 1).map(str)
    | st.integers(0, 10**6).map(lambda thousandths: f"{thousandths / 1000}TB"),
    Date: st.one_of(
        st.integers(1, 9999).map(lambda year: f"{year:04d}"),
        st.dates().map(lambda date: date.isoformat()[:7]),
        st.dates().map(str),
        st.datetimes().map(lambda time: time.isoformat(timespec="minutes")),
        st.datetimes().map(lambda time: time.isoformat(timespec="seconds")),
        st.datetimes().map(lambda time: time.isoformat(timespec="milliseconds") + "Z"),
    ),
}


def _value_texts(kind: object) -> st.SearchStrategy[str]:
    match kind:
        case Text():
            return st.text(min_size=1).filter(lambda text: not folded(text).isspace())
        case Embargo():
            return st.sampled_from(["open", "embargoed"])
        case _:
            return _SPANS[type(kind)]  # type: ignore[index]


@st.composite
def comparisons(draw: st.DrawFn) -> Term:
    field = draw(st.sampled_from([*FIELDS.values()]))
    operator = draw(st.sampled_from(field.kind.operators))
    return Comparison(field, operator, field.kind.read(draw(_value_texts(field.kind))))


TERMS: st.SearchStrategy[Term] = st.recursive(
    comparisons() | st.builds(Presence, st.sampled_from([*FIELDS.values()]), st.booleans()),
    lambda terms: st.one_of(
        terms.map(negated),
        st.lists(terms, min_size=1, max_size=4).map(all_of),
        st.lists(terms, min_size=1, max_size=4).map(any_of),
    ),
    max_leaves=12,
)


@given(TERMS)
def test_what_is_written_canonically_is_read_as_what_it_was(term: Term) -> None:
    query = Query.parse(str(term))
    assert query.term == term
    assert str(query) == str(term)
    assert query.matches(FACTS) is term.matches(FACTS)


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)


def test_every_character_folds_to_what_stays_as_it_is() -> None:
    every = map(chr, range(0x110000))
    assert [character for character in every if folded(folded(character)) != folded(character)] == []


_WORDS = ("is", "missing", "present", "and", "or", "not", "10GB", "TB", "1.5", "2024", "2024-05-01", "open", "名")
_SIGNS = ("~", "!~", "=", "!=", "<", "<=", ">", ">=", "(", ")", "'", '"', "'mouse'", "!", "“", "\n", "\x1b")
_PIECES = st.sampled_from([*FIELDS, *_WORDS, *_SIGNS])


@given(st.text() | st.lists(_PIECES).map(" ".join) | st.lists(_PIECES).map("".join))
def test_any_text_is_a_query_or_an_error_that_points_at_a_place(text: str) -> None:
    try:
        query = Query.parse(text)
    except QueryError:
        assert len(complaint(text).splitlines()) == (3 if text.strip() else 1)
    else:
        assert Query.parse(str(query)) == query


# --- what is said of a query that is wrong -----------------------------------------------------------------------


def test_a_field_that_does_not_exist_is_pointed_at_and_the_nearest_named() -> None:
    assert complaint("size > 1GB and specie ~ mouse") == (
        "no such field; the nearest is `species`\n  size > 1GB and specie ~ mouse\n                 ^"
    )


@pytest.mark.parametrize(
    ("query", "place", "words"),
    [
        ("approch ~ x", "approch ~ x", "nearest is `approach`"),
        ("Lisence = MIT", "Lisence = MIT", "nearest is `licence`"),
        ("created ~ 2024", "~ 2024", "`created` is a date, which knows `=`, `!=`, `<`"),
        ("name < 3", "< 3", "`name` is a text, which knows `~`, `!~`, `=`, `!=`, `is missing` and `is present`"),
        ("embargo ~ open", "~ open", "`embargo` is an embargo status, which knows `=`, `!=`"),
        ("embargo = closed", "closed", "expected `open` or `embargoed`"),
        ("subjects > many", "many", "`subjects` is a number: expected a whole number"),
        ("subjects > -1", "-1", "expected a whole number"),
        ("subjects > 1.5", "1.5", "expected a whole number"),
        (f"subjects > {'9' * 5000}", "9" * 25 + "…", "expected a whole number"),
        ("size > 1 GiB", "1 GiB", "such as 1.5TB"),
        ("size > 1.5", "1.5", "a whole number of bytes"),
        ("size > 1 doi", "doi", "expected `and`, `or`"),
        ("size > 1.2345kB", "1.2345kB", "a whole number of bytes"),
        ("created > yesterday", "yesterday", "expected a date such as 2024, 2024-05"),
        ("created > 2024-13", "2024-13", "expected a date"),
        ("created > 2023-02-29", "2023-02-29", "expected a date"),
        ("created > 0000", "0000", "expected a date"),
        ("created > 2024-05-01T25:00", "2024-05-01T25:00", "expected a date"),
        ("created > 0001-01-01T00:00+01:00", "0001-01-01T00:00+01:00", "expected a date"),
        ("name ~ ''", "''", "`is missing` asks for what is not there"),
        ("name = ' \t'", "'  '", "not empty"),
        ("name ~", "", "expected a value after `~`"),
        ("name ~ (x)", "(x)", "expected a value after `~`"),
        ("name ~ and", "and", "if `and` is one, it goes into quotes"),
        ("name", "", "expected an operator: `name` is a text, which knows `~`"),
        ("name contains x", "contains x", "expected an operator"),
        ("doi is not missing", "not missing", "expected `missing` or `present`"),
        ("doi is", "", "expected `missing` or `present`"),
        ("species ~ Mus musculus", "musculus", "a value of several words goes into quotes"),
        ("~ mouse", "~ mouse", "expected the name of a field"),
        ("'name' ~ x", "'name' ~ x", "expected the name of a field"),
        ("doi is missing and", "", "expected the name of a field"),
        ("doi is missing or or", "or", "expected the name of a field"),
        ("not", "", "expected the name of a field"),
        ("()", ")", "expected the name of a field"),
        ("(doi is missing", "(doi is missing", "this bracket is never closed"),
        ("(doi is missing size", "size", "expected `and`, `or`"),
        ("doi is missing) or size > 1", ") or size > 1", "this bracket was never opened"),
        ("contributor ~ O'Brien", "'Brien", "this quote is never closed"),
        ("name ~ wow!", "!", "`!` stands before `~` or `=`"),
        ("name ~ “mouse”", "“mouse”", "straight quotes"),
    ],
)
def test_what_is_wrong_is_pointed_at_and_what_would_be_right_is_told(query: str, place: str, words: str) -> None:
    assert words in complaint(query).splitlines()[0]
    assert pointed_at(query) == place


def test_an_empty_query_is_told_from_a_wrong_one() -> None:
    for nothing in ("", " \n\t"):
        assert complaint(nothing) == "the query is empty; one is, for example, species ~ 'Mus musculus'"


def test_the_caret_stands_below_the_place_whatever_comes_before_it() -> None:
    for before in ("'大脑皮层'", "'e\u0301'", "'a\tb\nc'", "'\x1b[2J\u202e'", "'🧠'"):
        assert pointed_at(f"name ~ {before} x") == "x"


def test_a_long_query_is_shown_around_the_place() -> None:
    long = " or ".join(["name ~ '脑'"] * 1000)
    message = complaint(f"{long} oder {long}")
    assert max(columns(line) for line in message.splitlines()) <= 80
    assert pointed_at(f"{long} oder {long}").startswith("oder name ~ ")


@pytest.mark.parametrize("opening", ["(", "not ", "not ("])
def test_nesting_has_an_end(opening: str) -> None:
    assert f"nested more than {MOST_NESTED} deep" in complaint(opening * 10_000 + "doi is missing")
    closing = ")" * opening.count("(")
    times = MOST_NESTED // len(opening.split())
    assert isinstance(matches(opening * times + "doi is missing" + closing * times), bool)


def test_length_has_none() -> None:
    assert matches(" or ".join(["assets = 1"] * 20_000 + ["assets = 101"]))


def test_every_field_says_what_it_is() -> None:
    assert all(field.what and field.name == name for name, field in FIELDS.items())
