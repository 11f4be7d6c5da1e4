"""Pushing to bare repositories at a path."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from mirror.publish.hosts import Patience


def test_everything_arrives_and_is_told(family):
    outcome = family.push(family.plain())

    assert outcome.ok
    assert outcome.pushed == outcome.created
    assert outcome.pushed[1:] == ["000027", "000108", "dandisets"]
    family.assert_there(*family.sources)
    assert family.behind(family.plain()) == {}


def test_where_nothing_moved_no_process_is_run(family, monkeypatch):
    host = family.plain()
    family.push(host)

    def refuse(*args, **_):
        raise AssertionError(f"{args} was run")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    outcome = family.push(host)

    assert outcome.ok
    assert (outcome.pushed, outcome.up_to_date) == ([], 4)


def test_only_what_moved_is_pushed(family):
    host = family.plain()
    family.push(host)
    family.sources["000108"].publish("0.1")

    assert list(family.behind(host)) == ["000108"]
    assert family.behind(host)["000108"].reason == "moved since it was pushed"
    assert family.push(host).pushed == ["000108"]
    family.assert_there("000108")


def test_two_thousand_tags_arrive_in_one_push(world, git, refs_of):
    source = world.add("000027")
    source.publish("0.1")
    git(
        source.path,
        "fast-import",
        "--quiet",
        stdin="".join(f"reset refs/tags/{n}\nfrom draft^0\n\n" for n in range(2000)),
    )
    world.push(world.plain())

    assert len(refs_of(world.there("000027"))) == 2 + 2 + 2000
    world.assert_there("000027")


def test_a_branch_that_only_the_host_has_is_left_alone(world, git, refs_of):
    source = world.add("000027")
    world.push(world.plain())
    git(world.there("000027"), "branch", "theirs", "draft")
    source.commit()
    world.push(world.plain())

    assert refs_of(world.there("000027")).keys() - refs_of(source.path).keys() == {"refs/heads/theirs"}


def test_a_branch_that_went_elsewhere_is_not_overwritten(family, git, refs_of):
    host = family.plain()
    family.push(host)
    there = family.there("000108")
    theirs = git(there, "commit-tree", "draft^{tree}", "-p", "draft", "-m", "somebody else")
    git(there, "update-ref", "refs/heads/draft", theirs)
    before = refs_of(there)
    family.sources["000108"].commit("draft", "git-annex")
    ours = refs_of(family.sources["000108"].path)["refs/heads/draft"]
    family.sources["000027"].commit()
    outcome = family.push(host)

    assert list(outcome.failures) == ["000108"]
    message = outcome.failures["000108"]
    assert f"refs/heads/draft is at {theirs[:12]} there, which our {ours[:12]} is not built on" in message
    assert "nothing is overwritten" in message
    assert refs_of(there) == before, "not even the other branch has moved"
    assert outcome.pushed == ["000027"]

    git(there, "branch", "-m", "draft", "theirs")
    assert family.push(host).pushed == ["000108"]


def test_a_tag_that_says_something_else_there_is_not_moved(world, git, refs_of):
    source = world.add("000027")
    source.publish("0.1")
    world.push(world.plain())
    git(source.path, "tag", "-f", "-a", "-m", "again", "0.1", "draft")
    outcome = world.push(world.plain())

    assert "refs/tags/0.1 is at" in outcome.failures["000027"]
    assert refs_of(world.there("000027"))["refs/tags/0.1"] != refs_of(source.path)["refs/tags/0.1"]


def test_the_create_command_gets_the_name_as_one_word(world, tmp_path):
    world.add("000027")
    make = world.plain().create
    world.push(world.plain(create=f"printf '%s\\n' {{name}} \"${{HOME:+home}}\" >> {tmp_path}/log; {make}"))

    assert (tmp_path / "log").read_text() == "000027\nhome\n"
    world.assert_there("000027")


def test_a_create_command_that_fails_is_told(world):
    world.add("000027")
    outcome = world.push(world.plain(create="echo the quota of {name} is used up >&2; exit 3"))

    assert "ended with 3: the quota of 000027 is used up" in outcome.failures["000027"]


def test_a_missing_repository_without_a_create_command_is_told(world):
    world.add("000027")
    outcome = world.push(world.plain(create=None))

    assert "there is no repository at" in outcome.failures["000027"]
    assert "give the host a `create` command" in outcome.failures["000027"]


def test_a_repository_taken_away_there_is_made_again(world, tmp_path):
    source = world.add("000027")
    world.push(world.plain())
    world.there("000027").rename(tmp_path / "away")
    source.commit()
    outcome = world.push(world.plain())

    assert (outcome.created, outcome.pushed) == (["000027"], ["000027"])
    world.assert_there("000027")


def test_what_points_into_a_refused_push_is_held_back(family):
    host = family.plain()
    family.push(host)
    hook = family.there("000108") / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho the disk is full >&2\nexit 1\n")
    hook.chmod(0o755)
    for source in family.sources.values():
        source.commit()
    outcome = family.push(host)

    assert outcome.pushed[1:] == ["000027"]
    assert list(outcome.failures) == ["000108"]
    assert "pre-receive hook declined: the disk is full" in outcome.failures["000108"]
    assert outcome.held_back == {"dandisets": "waits for 000108, which is not there yet"}
    assert family.behind(host)["dandisets"].reason == "waits for 000108, which is not there yet"

    hook.unlink()
    assert family.push(host).pushed == ["000108", "dandisets"]
    family.assert_there(*family.sources)


def test_a_refused_zarr_holds_back_all_above_it(family):
    make = family.plain().create
    outcome = family.push(family.plain(create=f"case {{name}} in *-*) exit 1;; esac; {make}"))

    assert outcome.pushed == ["000108"]
    assert sorted(outcome.held_back) == ["000027", "dandisets"]


def test_without_zarrs_none_is_pushed_and_nothing_is_held_back(family):
    outcome = family.push(family.plain(zarrs=False))

    assert outcome.ok
    assert outcome.pushed == ["000027", "000108", "dandisets"]


def test_one_broken_repository_does_not_stop_the_others(family):
    broken = family.sources["000027"]
    for path in [*broken.path.glob("objects/??/*"), *broken.path.glob("objects/pack/*")]:
        path.unlink()
    outcome = family.push(family.plain())

    assert list(outcome.failures) == ["000027"]
    assert "000108" in outcome.pushed


def test_failures_are_counted_until_one_works(world):
    world.add("000027")
    missing = world.plain(create=None)
    for _ in range(3):
        world.push(missing)
    late = world.behind(missing)["000027"]

    assert (late.reason, late.count) == ("not there yet", 3)
    assert "there is no repository" in late.error

    subprocess.run(["git", "init", "-q", "--bare", world.there("000027")], check=True)
    assert world.push(missing).ok
    assert world.behind(missing) == {}


def test_a_server_that_knows_no_atomic_push_is_told(world, git):
    world.add("000027")
    subprocess.run(["git", "init", "-q", "--bare", world.there("000027")], check=True)
    git(world.there("000027"), "config", "receive.advertiseAtomic", "false")
    outcome = world.push(world.plain())

    assert "cannot take several branches and tags at once, all or none" in outcome.failures["000027"]


def test_another_address_under_the_same_name_starts_from_nothing(world, tmp_path):
    world.add("000027")
    world.push(world.plain())
    create = f"git init -q --bare {tmp_path}/other/{{name}}.git"
    other = world.plain(url=f"{tmp_path}/other/{{name}}.git", create=create)

    assert list(world.behind(other)) == ["000027"]
    assert world.push(other).pushed == ["000027"]


def test_the_operators_git_configuration_cannot_change_what_is_pushed(world, tmp_path, monkeypatch, refs_of):
    source = world.add("000027")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-push").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "pre-push").chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(f"[push]\n\tgpgSign = true\n\trecurseSubmodules = only\n[core]\n\thooksPath = {hooks}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))

    assert world.push(world.plain(create=f"git -c core.hooksPath=/ init -q --bare {tmp_path}/host/{{name}}.git")).ok
    assert refs_of(world.there("000027")) == refs_of(source.path)


def test_an_empty_repository_is_passed_over(world, git):
    source = world.add("000027")
    for ref in ("draft", "git-annex"):
        git(source.path, "update-ref", "-d", f"refs/heads/{ref}")
    outcome = world.push(world.plain())

    assert (outcome.ok, outcome.pushed, world.behind(world.plain())) == (True, [], {})


def test_an_embargoed_dandiset_stays_here(family):
    family.sources["000108"].change(private=True)
    outcome = family.push(family.plain())

    assert outcome.embargoed == ["000108"]
    assert not family.there("000108").exists()
    assert "dandisets" in outcome.held_back
    assert "000108" not in family.behind(family.plain())

    family.sources["000108"].change(private=False)
    assert family.push(family.plain()).pushed == ["000108", "dandisets"]


def test_embargoed_again_after_it_was_pushed_is_told_until_it_is_gone(world, tmp_path):
    source = world.add("000027")
    world.push(world.plain())
    source.change(private=True)
    outcome = world.push(world.plain())

    assert "embargoed again, but was pushed" in outcome.failures["000027"]
    assert world.behind(world.plain())["000027"].reason == "embargoed again, and to be seen there"

    world.there("000027").rename(tmp_path / "away")
    assert world.push(world.plain()).ok
    assert world.behind(world.plain()) == {}


def test_half_a_line_left_by_a_kill_is_passed_over(family):
    host = family.plain()
    family.push(host)
    file = family.marks / "shelf.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"type":"repository","name":"0001')
    outcome = family.push(host)

    assert outcome.up_to_date == 4
    assert file.read_bytes() == whole


def test_one_host_out_of_order_does_not_stop_the_next(family):
    lost = family.plain(name="lost", url="ssh://127.0.0.1:1/{name}", create=None)
    first, second = family.push_all([lost, family.plain()])

    assert "is out of reach" in first.stopped
    assert second.ok


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_losing_marks_costs_a_push_that_finds_everything_there(family, kept):
    host = family.plain()
    family.push(host)
    file = family.marks / "shelf.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:kept]))
    outcome = family.push(host)

    assert outcome.ok
    assert outcome.created == []


def test_a_lock_file_in_the_way_is_named_and_what_to_do(world):
    source = world.add("000027")
    world.push(world.plain())
    lock = world.there("000027") / "refs/heads/draft.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    source.commit()
    message = world.push(world.plain()).failures["000027"]

    assert f"a lock file is in the way: {lock} " in message
    assert message.endswith("if none is at work there now, delete it)")


def test_what_a_hook_has_to_say_is_cut_after_a_sentence(world):
    source = world.add("000027")
    world.push(world.plain())
    hook = world.there("000027") / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_bytes(
        b"#!/bin/sh\nprintf '\\377\\033[2JThe quota of the laboratory is used up. %0.s' $(seq 30) >&2\nexit 1\n"
    )
    hook.chmod(0o755)
    source.commit()
    message = world.push(world.plain()).failures["000027"]

    assert message.endswith("is used up. …")
    assert message.isprintable()


@pytest.mark.parametrize("hook", ["pre-receive", "update"])
def test_a_push_that_hangs_is_ended_with_all_it_started(family, hook):
    host = family.plain()
    family.push(host)
    family.sources["000108"].commit()
    pid = family.root / "pid"
    script = family.there("000108") / "hooks" / hook
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec sleep 600\n")
    script.chmod(0o755)
    outcome = family.push(host, patience=Patience(push_seconds=0.5))

    assert "`git push` at" in outcome.failures["000108"]
    assert "did not end within 0.5 seconds" in outcome.failures["000108"]
    assert is_gone(int(pid.read_text()))


def is_gone(pid):
    """Whether a process came to its end; one that nobody has waited for yet counts."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_a_create_command_that_hangs_is_ended(world):
    world.add("000027")
    outcome = world.push(world.plain(create="sleep 600; echo {name}"), patience=Patience(command_seconds=0.3))

    assert "did not end within 0.3 seconds" in outcome.failures["000027"]


def test_of_a_host_that_was_never_tried_nothing_is_there_yet(family):
    assert {late.reason for late in family.behind(family.plain()).values()} == {"not there yet"}


def test_a_path_means_the_same_from_every_folder(world, tmp_path, monkeypatch):
    source = world.add("000027")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    host = world.plain(url="shelf/{name}.git", create=f"git init -q --bare {tmp_path}/one/shelf/{{name}}.git")
    assert world.push(host).ok
    monkeypatch.chdir(tmp_path / "two")
    source.commit()

    assert world.push(host).pushed == ["000027"]
    assert list((tmp_path / "two").iterdir()) == []
