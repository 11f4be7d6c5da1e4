"""What came of the jobs that are about content, as it is told: by counts, and by problems that keep their words."""

from __future__ import annotations

from collections import Counter

from mirror.daemon.came_of import counts_of_kept, counts_of_proved, problems_of_kept, problems_of_proved, words
from mirror.daemon.listening import JobReport
from mirror.daemon.marking import marked
from mirror.dataset.times import moment
from mirror.keeping.dropping import Dropped
from mirror.keeping.keeping import Kept
from mirror.keeping.plan import Amount
from mirror.keeping.populating import Populated
from mirror.proving.verify import Proved

BEGUN = "2026-11-20T15:34:17+00:00"


def test_what_content_came_and_went_is_counted() -> None:
    kept = Kept(Populated(fetched=Amount(3, 30), shared=Amount(1, 5)), Dropped(dropped=Amount(2, 20)))
    assert words(counts_of_kept(kept)) == "3 fetched, 1 shared, 2 dropped"
    assert problems_of_kept(kept) == []
    assert not JobReport("content", BEGUN, 1.0, kept=kept).failed


def test_what_could_not_be_had_fails_the_job_in_the_same_words_however_many_they_are() -> None:
    few, many = (
        Kept(Populated(failed=Amount(count, count), problems=["a.nwb: it is not there"])) for count in (1, 200)
    )
    assert (
        problems_of_kept(few)
        == problems_of_kept(many)
        == ["content: some could not be had, such as a.nwb: it is not there"]
    )
    assert JobReport("content", BEGUN, 1.0, kept=many).failed


def test_a_disk_that_is_full_is_no_problem_of_the_rules() -> None:
    report = JobReport("content", BEGUN, 1.0, kept=Kept(full="the disk has no room for more"))
    assert not report.failed


def test_that_the_last_copy_of_something_stays_is_no_problem() -> None:
    kept = Kept(dropped=Dropped(stayed=Amount(4, 4), problems=["KEY stays: this may be the last copy"]))
    assert problems_of_kept(kept) == []
    assert words(counts_of_kept(kept)) == "4 stayed"


def test_why_nothing_is_given_up_is_told() -> None:
    kept = Kept(unread=["cannot be read: Dandiset 000001"], troubled=["nothing can be given up: 000002"])
    assert [problem.partition(": ")[2] for problem in problems_of_kept(kept)] == [*kept.unread, *kept.troubled]


def test_what_was_proved_is_counted_and_what_is_wrong_is_a_problem() -> None:
    proved = Proved(dandisets=2, checked=Counter(names=20, urls=7), counts=Counter(gone=1, unknown=3))
    assert counts_of_proved(proved) == {
        "proved_dandisets": 2,
        "proved_names": 20,
        "proved_urls": 7,
        "gone": 1,
        "unknown": 3,
    }
    assert problems_of_proved(proved) == [
        "verify: not as it should be: gone; `dandi-mirror status` tells what is at risk"
    ]
    assert problems_of_proved(Proved(counts=Counter(unknown=3, behind=1))) == []
    assert problems_of_proved(Proved(troubles={"000001": "cannot be read"})) == ["verify: 000001: cannot be read"]


def test_the_mark_of_the_job_has_the_counts() -> None:
    report = JobReport("verify", BEGUN, 1.0, proved=Proved(dandisets=2, checked=Counter(urls=7)))
    assert marked(None, report, moment(BEGUN)).counts == {"proved_dandisets": 2, "proved_urls": 7}
