"""Git hosts with a REST API, from the first repository to the end of an embargo."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from strict_hosts import ZARR

from mirror.publish.hosts import Patience, trouble


def test_repositories_are_made_described_and_filled(family, site, refs_of):
    family.sources["000027"].publish("0.230629.1955")
    outcome = family.push(site.host())

    assert outcome.ok, outcome
    assert outcome.created == outcome.pushed == [ZARR, "000027", "000108", "dandisets"]
    for name, source in family.sources.items():
        repo = site.server.repo(name)
        assert refs_of(repo.folder) == refs_of(source.path)
        assert not repo.private
        assert repo.fields["default_branch"] == "draft"
        assert repo.fields["description"].startswith(f"Recordings of {name}")
        homepage = repo.fields.get("homepage") or repo.fields.get("website") or repo.fields["description"].split()[-1]
        assert homepage == f"https://example.org/dandiset/{name}"


def test_issues_wiki_and_projects_are_off(world, site):
    world.add("000027")
    world.push(site.host())
    fields = site.server.repo("000027").fields
    features = {name: value for name, value in fields.items() if name.startswith("has_") or name.endswith("_level")}

    assert len(features) >= 3
    assert set(features.values()) <= {False, "disabled"}


def test_the_second_run_asks_nothing(family, site, monkeypatch):
    family.push(site.host())
    site.server.requests.clear()
    monkeypatch.delenv(f"{site.kind.upper()}_TOKEN")
    outcome = family.push(site.host())

    assert outcome.ok
    assert outcome.up_to_date == 4
    assert site.server.requests == []


def test_a_later_push_asks_the_api_nothing(world, site):
    source = world.add("000027")
    world.push(site.host())
    site.server.requests.clear()
    source.commit()

    assert world.push(site.host()).pushed == ["000027"]
    assert site.server.api_requests() == []


def test_a_repository_made_by_hand_is_taken_and_described(world, site, refs_of):
    source = world.add("000027")
    site.server.add("lab", "000027", private=False, fields={"description": "mine"})
    outcome = world.push(site.host())

    assert (outcome.created, outcome.pushed) == ([], ["000027"])
    assert site.server.repo("000027").fields["description"].startswith("Recordings of 000027")
    assert refs_of(site.server.repo("000027").folder) == refs_of(source.path)


def test_a_new_description_is_told_without_a_push(world, site):
    source = world.add("000027")
    world.push(site.host())
    source.change(description="Now of rats\n\nand of mice\x07")
    assert world.behind(site.host())["000027"].reason == "its description or visibility is to be changed"
    outcome = world.push(site.host())

    assert outcome.ok
    assert outcome.pushed == []
    assert site.server.repo("000027").fields["description"].startswith("Now of rats and of mice")
    assert world.behind(site.host()) == {}


def test_a_description_is_cut_to_what_the_host_takes(world, site):
    world.add("000027").change(description="word " * 1000)

    assert world.push(site.host()).ok


def test_the_owner_may_be_the_user_whose_token_it_is(single, site, refs_of):
    outcome = single.push(site.host(owner="labuser"))

    assert outcome.ok, outcome
    repo = site.server.repo("000027", owner="labuser")
    assert refs_of(repo.folder) == refs_of(single.sources["000027"].path)


def test_an_unknown_owner_stops_the_host(single, site):
    outcome = single.push(site.host(owner="nobody"))

    assert "nobody" in outcome.stopped
    assert len(site.server.api_requests()) <= 3


def test_a_group_within_a_group(world, site_of):
    site = site_of("gitlab")
    world.add("000027")

    assert world.push(site.host(owner="institute/lab")).ok
    assert site.server.repo("000027", owner="institute/lab").has("refs/heads/draft")


def test_gitea_is_spoken_to_like_forgejo(single, site_of):
    site = site_of("gitea")

    assert single.push(site.host()).ok
    assert site.server.repo("000027").fields["default_branch"] == "draft"


# Releases


def test_each_version_gets_a_release_once(world, site):
    source = world.add("000027")
    source.publish("0.1")
    source.publish("0.2")
    assert world.push(site.host()).releases == 2
    source.publish("0.3")
    site.server.requests.clear()
    outcome = world.push(site.host())

    assert outcome.releases == 1
    assert len([request for request in site.server.api_requests() if "releases" in request]) == 1
    releases = site.server.repo("000027").releases
    assert list(releases) == ["0.1", "0.2", "0.3"]
    assert releases["0.1"]["name"] == "000027 0.1"
    # GitLab alone can be told when a version was published.
    when = "2023-06-29T19:55:00Z" if site.server.kind == "gitlab" else None
    assert releases["0.1"].get("released_at") == when
    assert "Cite as *0.1*" in (releases["0.1"].get("body") or releases["0.1"].get("description"))


def test_a_release_that_exists_counts_as_made(world, site):
    source = world.add("000027")
    source.publish("0.1")
    world.push(site.host())
    (world.marks / "site.jsonl").unlink()
    site.server.requests.clear()
    outcome = world.push(site.host())

    assert outcome.ok, outcome
    world.push(site.host())
    assert len([request for request in site.server.api_requests() if "releases" in request]) == 1


def test_no_releases_where_none_are_wanted(world, site):
    world.add("000027").publish("0.1")

    assert world.push(site.host(releases=False)).ok
    assert site.server.repo("000027").releases == {}
    assert world.behind(site.host(releases=False)) == {}


def test_a_release_that_fails_is_made_by_the_next_run(family, site):
    family.sources["000027"].publish("0.1")
    family.sources["000027"].publish("0.2")
    site.server.fault(422, {"message": "Validation Failed", "errors": [{"code": "custom"}]}, on="POST .*/releases")
    outcome = family.push(site.host())

    assert list(outcome.failures) == ["000027"]
    assert "dandisets" in outcome.pushed, "what it points into is there"
    assert family.behind(site.host())["000027"].reason == "releases are to be made"
    outcome = family.push(site.host())
    assert (outcome.ok, outcome.pushed, outcome.releases) == (True, [], 2)


# Embargo


def test_an_embargoed_dandiset_goes_only_where_private_ones_may(family, site):
    family.sources["000108"].change(private=True)
    outcome = family.push(site.host())

    assert outcome.embargoed == ["000108"]
    assert not any("000108" in f"{request.path} {request.body}" for request in site.server.requests)


def test_an_embargoed_dandiset_is_private_until_the_embargo_ends(world, site):
    source = world.add("000027")
    source.change(private=True)
    host = site.host(private=True)
    world.push(host)
    assert site.server.events == [("create", "000027", "private"), ("push", "000027", "private")]

    source.commit()
    world.push(host)
    assert site.server.events[2:] == [("push", "000027", "private")]

    source.change(private=False)
    assert world.behind(host)["000027"].reason == "its description or visibility is to be changed"
    source.commit()
    outcome = world.push(host)
    assert outcome.opened == ["000027"]
    assert site.server.events[3:] == [("edit", "000027", "public"), ("push", "000027", "public")]


def test_a_repository_that_somebody_else_made_private_stays_so(world, site):
    world.add("000027")
    site.server.add("lab", "000027", private=True)

    assert world.push(site.host()).pushed == ["000027"]
    assert site.server.repo("000027").private


def test_an_embargoed_dandiset_is_never_pushed_into_a_public_repository(world, site):
    world.add("000027").change(private=True)
    site.server.add("lab", "000027", private=False)
    world.push(site.host(private=True))

    assert site.server.events == [("edit", "000027", "private"), ("push", "000027", "private")]


def test_what_somebody_opened_by_hand_is_closed_before_more_is_pushed(world, site):
    source = world.add("000027")
    source.change(private=True)
    host = site.host(private=True)
    world.push(host)
    site.server.repo("000027").private = False
    source.commit()
    world.push(host)

    assert site.server.events[2:] == [("edit", "000027", "private"), ("push", "000027", "private")]


def test_nothing_embargoed_is_pushed_where_it_cannot_be_hidden(world, site):
    world.add("000027").change(private=True)
    site.server.add("lab", "000027", private=False)
    site.server.fault(200, {"private": False, "visibility": "public"}, times=9, on="(PATCH|PUT)")
    outcome = world.push(site.host(private=True))

    assert "could not be made private: nothing was pushed" in outcome.failures["000027"]
    assert site.server.events == []


@pytest.mark.parametrize("allowed", [False, True])
def test_embargoed_again_is_hidden_and_opened_later(world, site, allowed):
    source = world.add("000027")
    host = site.host(private=allowed)
    world.push(host)
    source.change(private=True)
    source.commit()
    outcome = world.push(host)

    assert outcome.hidden == ["000027"]
    assert site.server.repo("000027").private
    assert outcome.pushed == (["000027"] if allowed else [])
    assert world.push(host).hidden == []

    source.change(private=False)
    outcome = world.push(host)
    assert outcome.opened == ["000027"]
    assert not site.server.repo("000027").private


def test_killed_between_making_it_private_and_knowing_it_opens_later_all_the_same(world, site):
    source = world.add("000027")
    source.change(private=True)
    site.server.fault(500, times=9, on="(POST|PUT|PATCH) ")
    assert not world.push(site.host(private=True)).ok
    site.server.faults.clear()
    site.server.add("lab", "000027", private=True)  # it was made, but we never heard
    source.change(private=False)

    assert world.push(site.host(private=True)).ok
    assert not site.server.repo("000027").private


def test_internal_at_gitlab_is_not_private(world, site_of):
    """Everybody who has an account there sees it."""
    site = site_of("gitlab")
    world.add("000027").change(private=True)
    site.server.add("lab", "000027", private=False)
    internal = {"path_with_namespace": "lab/000027", "visibility": "internal"}
    site.server.fault(200, internal, times=9, on="GET .*projects")
    site.server.fault(200, internal, on="PUT .*projects")
    assert "could not be made private: nothing was pushed" in world.push(site.host(private=True)).failures["000027"]

    # Asked to, it makes a private one of it.
    assert world.push(site.host(private=True)).pushed == ["000027"]
    assert site.server.repo("000027").private


@pytest.mark.parametrize("answer", [{}, {"private": True, "visibility": "internal"}, "<html>"])
def test_what_does_not_say_that_it_is_private_is_not(world, github, answer):
    world.add("000027").change(private=True)
    github.server.add("lab", "000027", private=False)
    github.server.fault(200, answer, times=9, on="PATCH")
    outcome = world.push(github.host(private=True))

    assert "could not be made private" in outcome.failures["000027"]
    assert github.server.events == []


def test_after_a_host_was_renamed_it_is_told_what_stays_private_until_somebody_opens_it(world, site):
    source = world.add("000027")
    source.change(private=True)
    world.push(site.host(private=True))
    source.change(private=False)
    renamed = site.host(name="renamed", private=True)
    assert world.push(renamed).ok

    assert site.server.repo("000027").private, "who knows who wanted that"
    assert world.behind(renamed)["000027"].reason == "private there; open it by hand, if that is right"

    site.server.repo("000027").private = False
    outcome = world.push(renamed)
    assert (outcome.up_to_date, outcome.opened) == (1, ["000027"])
    assert world.behind(renamed) == {}


# Somebody else's


@pytest.mark.parametrize("branch", ["draft", "main"])
@pytest.mark.parametrize("embargoed", [False, True])
def test_a_repository_of_somebody_else_is_left_as_it_is(world, site, git, refs_of, branch, embargoed):
    world.add("000027").change(private=embargoed)
    repo = site.server.add("lab", "000027", private=False, fields={"description": "mine"})
    git(
        repo.folder,
        "fast-import",
        "--quiet",
        stdin=f"commit refs/heads/{branch}\ncommitter A <a@example.org> 1 +0000\ndata 1\ny\n",
    )
    before = refs_of(repo.folder)
    outcome = world.push(site.host(private=True))

    assert "another repository stands at" in outcome.failures["000027"]
    assert f"refs/heads/{branch}" in outcome.failures["000027"]
    assert (repo.fields, repo.private, refs_of(repo.folder)) == ({"description": "mine"}, False, before)
    assert {request.split()[0] for request in site.server.api_requests()} == {"GET"}


def test_our_own_repository_is_known_again_without_marks(world, site):
    source = world.add("000027")
    source.publish("0.1")
    world.push(site.host())
    source.publish("0.2")
    source.change(description="Now of rats")
    (world.marks / "site.jsonl").unlink()

    assert world.push(site.host()).pushed == ["000027"]
    assert site.server.repo("000027").fields["description"].startswith("Now of rats")


# What goes wrong


def test_a_repository_deleted_there_is_made_again(world, site, refs_of):
    source = world.add("000027")
    source.publish("0.1")
    world.push(site.host())
    del site.server.repos["lab", "000027"]
    (site.server.root / "lab" / "000027.git").rename(site.server.root / "gone")
    source.commit()
    outcome = world.push(site.host())

    assert outcome.created == outcome.pushed == ["000027"]
    assert refs_of(site.server.repo("000027").folder) == refs_of(source.path)
    assert list(site.server.repo("000027").releases) == ["0.1"]
    assert site.server.repo("000027").fields["default_branch"] == "draft"


def test_a_repository_renamed_there_is_told(world, site):
    world.add("000027")
    site.server.add("lab", "ripples", private=False)
    site.server.moved["000027"] = "ripples"
    outcome = world.push(site.host())

    assert "lab/000027 leads to lab/ripples" in outcome.failures["000027"]


def test_a_new_repository_that_git_does_not_find_yet_is_waited_for(world, site):
    world.add("000027")
    site.server.fault(404, times=2, on="git-receive-pack")

    assert world.push(site.host()).ok
    assert len(world.slept) == 2


def test_a_wrong_token_stops_the_host_at_once(single, site, monkeypatch):
    monkeypatch.setenv(f"{site.kind.upper()}_TOKEN", "another")
    outcome = single.push(site.host())

    assert "401" in outcome.stopped
    assert "the token is wrong, or has expired" in outcome.stopped
    assert len(site.server.requests) == 1


def test_a_missing_token_is_told_by_the_name_of_its_variable(single, site, monkeypatch):
    monkeypatch.delenv(f"{site.kind.upper()}_TOKEN")
    outcome = single.push(site.host())

    assert f"{site.kind.upper()}_TOKEN has no token" in outcome.stopped
    assert (
        single.push(site.host(token_variable="LAB_TOKEN")).stopped == "the environment variable LAB_TOKEN has no token"
    )


def test_a_token_that_may_not_create_stops_the_host(single, site):
    site.server.fault(403, {"message": "Resource not accessible by personal access token"}, times=9, on="^POST")
    outcome = single.push(site.host())

    assert "the token may not make" in outcome.stopped
    assert "Resource not accessible" in outcome.stopped


def test_a_repository_made_by_a_try_whose_answer_got_lost_is_taken(single, site):
    site.server.fault(502, on="^POST", late=True)

    assert single.push(site.host()).ok
    assert site.server.repo("000027").has("refs/heads/draft")


def test_server_errors_are_tried_again(single, site):
    site.server.fault(502, times=3, on="^(GET|POST) /api")

    assert single.push(site.host()).ok
    assert len(single.slept) == 3
    assert single.slept[0] < single.slept[2]


def test_server_errors_at_one_repository_do_not_stop_the_others(family, site):
    site.server.fault(500, times=99, on="000108")
    outcome = family.push(site.host())

    assert "answered 500" in outcome.failures["000108"]
    assert "000027" in outcome.pushed
    assert list(outcome.held_back) == ["dandisets"]


def test_server_errors_at_three_in_a_row_stop_the_host(world, github):
    for number in range(9):
        world.add(f"00000{number}")
    github.server.fault(503, times=999, on="^GET")
    outcome = world.push(github.host())

    assert "3 repositories in a row" in outcome.stopped
    assert len(github.server.requests) == 12


def test_a_host_that_is_not_there_is_told_and_counted(family, site):
    host = site.host(url=f"http://127.0.0.1:1{site.server.api}")
    family.push(host)
    outcome = family.push(host)

    assert "connection refused" in outcome.stopped
    assert trouble(host, family.marks).count == 2
    assert family.behind(host)["000027"].reason == f"waits for {ZARR}, which is not there yet"


# Limits


def test_a_short_limit_is_waited_for(single, site):
    site.server.fault(429, {"message": "slow down"}, times=2, on="^POST", Retry_After="7")

    assert single.push(site.host()).ok
    assert single.slept[:2] == [7.0, 7.0]


def test_a_long_limit_ends_the_run_and_is_remembered(single, github):
    github.server.fault(429, {"message": "slow down"}, on="^POST", Retry_After="1800")
    start = datetime(2026, 1, 1, 12, tzinfo=UTC)
    now = [start]
    patience = Patience(sleep=single.slept.append, now=lambda: now[0])
    outcome = single.push(github.host(), patience=patience)

    assert outcome.stopped == "rate limited until 2026-01-01T12:30:00+00:00"
    assert trouble(github.host(), single.marks).until == "2026-01-01T12:30:00+00:00"
    assert single.slept == []

    github.server.requests.clear()
    now[0] = start + timedelta(minutes=29)
    assert "rate limited until" in single.push(github.host(), patience=patience).stopped
    assert github.server.requests == []

    now[0] = start + timedelta(minutes=31)
    assert single.push(github.host(), patience=patience).ok
    assert trouble(github.host(), single.marks) is None


def test_limits_are_not_waited_for_longer_than_a_minute_in_all(single, github):
    github.server.fault(429, times=9, on="^POST", Retry_After="25")
    outcome = single.push(github.host())

    assert "rate limited until" in outcome.stopped
    assert single.slept == [25.0, 25.0]


def test_githubs_primary_limit_comes_as_403(single, github):
    github.server.fault(
        403,
        {"message": "API rate limit exceeded for user ID 1."},
        on="^POST",
        x_ratelimit_remaining="0",
        x_ratelimit_reset=github.server.reset_at(),
    )

    assert "rate limited until" in single.push(github.host()).stopped


def test_githubs_secondary_limit_may_tell_no_time(single, github):
    github.server.fault(403, {"message": "You have exceeded a secondary rate limit. Please wait."}, on="^POST")

    assert single.push(github.host()).ok
    assert single.slept == [60.0]


def test_after_the_last_request_that_is_allowed_no_other_is_made(family, github):
    github.server.remaining = 2
    outcome = family.push(github.host())

    assert "rate limited until" in outcome.stopped
    assert len(github.server.api_requests()) == 2


def test_a_git_server_that_limits_stops_the_host(single, site):
    site.server.fault(429, times=9, on="git-receive-pack")
    outcome = single.push(site.host())

    assert "rate limited until" in outcome.stopped
