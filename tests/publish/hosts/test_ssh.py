"""Pushing over ssh, with a stand-in for `ssh` that runs here what it is told to run there."""

from __future__ import annotations

import os

import pytest

from mirror.config import Host

_SSH = """#!/bin/sh
echo "$*" >> "$SSH_LOG"
while [ $# -gt 2 ]; do shift; done
[ "$1" = git@example.org ] && exec sh -c "$2"
echo "ssh: Could not resolve hostname $1: Name or service not known" >&2
exit 255
"""


@pytest.fixture
def ssh_log(tmp_path, monkeypatch):
    program = tmp_path / "fake-ssh"
    program.write_text(_SSH)
    program.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(program))
    monkeypatch.setenv("GIT_SSH_VARIANT", "ssh")
    monkeypatch.setenv("SSH_LOG", str(tmp_path / "ssh.log"))
    return tmp_path / "ssh.log"


@pytest.mark.parametrize(
    "url", ["ssh://git@example.org{root}/host/{{name}}.git", "git@example.org:{root}/host/{{name}}.git"]
)
def test_repositories_arrive_over_ssh(family, ssh_log, url):
    outcome = family.push(family.plain(url=url.format(root=family.root)))

    assert outcome.ok
    family.assert_there(*family.sources)
    assert "git-receive-pack" in ssh_log.read_text()


def test_a_ria_store_is_made_and_kept_over_ssh(family, ssh_log, refs_of, tmp_path):
    store = tmp_path / "there's a store"
    host = Host(name="backup", kind="ria", url=f"ssh://git@example.org:2222{store}")
    outcome = family.push(host)

    assert outcome.ok, outcome
    assert sorted(outcome.created) == sorted(family.sources)
    assert "-p 2222" in ssh_log.read_text()
    for name, source in family.sources.items():
        assert refs_of(store / "alias" / name) == refs_of(source.path)

    family.sources["000108"].commit()
    assert family.push(host).pushed == ["000108"]
    assert refs_of(store / "alias/000108") == refs_of(family.sources["000108"].path)


@pytest.mark.usefixtures("ssh_log")
def test_a_lock_file_of_a_killed_git_is_removed_over_ssh(single, refs_of, tmp_path):
    host = Host(name="backup", kind="ria", url=f"ssh://git@example.org{tmp_path}/store")
    single.push(host)
    lock = tmp_path / "store/alias/000027/refs/heads/draft.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    os.utime(lock, (1_700_000_000, 1_700_000_000))
    single.sources["000027"].commit()

    assert single.push(host).ok
    assert refs_of(tmp_path / "store/alias/000027") == refs_of(single.sources["000027"].path)


@pytest.mark.parametrize("kind", ["plain", "ria"])
def test_a_host_out_of_reach_is_left_after_a_few_tries(family, ssh_log, kind):
    url = "ssh://git@nowhere/srv/{name}" if kind == "plain" else "ssh://git@nowhere/srv"
    outcome = family.push(Host(name="lost", kind=kind, url=url))

    assert "is out of reach" in outcome.stopped
    assert "Could not resolve hostname git@nowhere" in outcome.stopped
    assert len(ssh_log.read_text().splitlines()) == 4
    assert len(family.slept) == 3


@pytest.mark.usefixtures("ssh_log")
def test_a_command_of_ones_own_asks_nobody_either(world, tmp_path):
    world.add("000027")
    program = tmp_path / "fake-ssh"
    program.write_text('#!/bin/sh\necho "asks $SSH_ASKPASS by $SSH_ASKPASS_REQUIRE" >&2\nexit 255\n')
    outcome = world.push(Host(name="lost", kind="plain", url="ssh://git@example.org/{name}"))

    assert "asks false by force" in outcome.failures["000027"]


def test_without_a_command_of_ones_own_ssh_asks_nobody(world):
    world.add("000027")
    outcome = world.push(Host(name="lost", kind="plain", url="ssh://127.0.0.1:1/{name}"))

    assert "Connection refused" in outcome.stopped
