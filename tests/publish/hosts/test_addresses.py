"""Where hosts are, and how they are approached, by what the configuration says."""

from __future__ import annotations

import pytest
from strict_hosts import TOKEN

from mirror.config import Host
from mirror.publish.hosts import Patience, push_all
from mirror.publish.hosts.api import ApiHost
from mirror.publish.hosts.patience import Waiting
from mirror.publish.hosts.rest import Rest
from mirror.publish.hosts.secret import Secret
from mirror.publish.hosts.targets import target_of


@pytest.fixture(autouse=True)
def _tokens(monkeypatch):
    for kind in ("GITHUB", "FORGEJO", "GITEA", "GITLAB"):
        monkeypatch.setenv(f"{kind}_TOKEN", TOKEN)


def target(**settings: str) -> ApiHost:
    found = target_of(Host(name="site", owner="lab", **settings), Waiting(Patience()), known=False)
    assert isinstance(found, ApiHost)
    return found


@pytest.mark.parametrize(
    ("kind", "url", "api", "git"),
    [
        ("github", None, "https://api.github.com", "https://github.com/lab/000027.git"),
        ("github", "https://git.uni.edu/api/v3", "https://git.uni.edu/api/v3", "https://git.uni.edu/lab/000027.git"),
        ("gitlab", None, "https://gitlab.com/api/v4", "https://gitlab.com/lab/000027.git"),
        ("gitlab", "https://uni.edu/gl/api/v4", "https://uni.edu/gl/api/v4", "https://uni.edu/gl/lab/000027.git"),
        (
            "forgejo",
            "https://codeberg.org/api/v1/",
            "https://codeberg.org/api/v1",
            "https://codeberg.org/lab/000027.git",
        ),
        ("gitea", "http://lab:3000/git/api/v1", "http://lab:3000/git/api/v1", "http://lab:3000/git/lab/000027.git"),
    ],
)
def test_the_address_to_push_to_follows_from_the_api(kind, url, api, git):
    host = target(kind=kind, **({"url": url} if url else {}))

    assert host.rest.url == api
    assert host.remote("000027").url == git
    assert host.remote("000027").header.startswith("Basic ")


def test_another_address_to_push_to_may_be_given():
    host = target(kind="github", push_url="git@github.com:{owner}/{name}.git")

    assert host.remote("000027").url == "git@github.com:lab/000027.git"
    assert host.remote("000027").header is None, "ssh has its own keys"


def test_changes_at_github_are_a_second_apart():
    host = target(kind="github")

    assert host.pause_after_change(host.rest.url) == 1.0
    assert host.pause_after_change("https://git.uni.edu/api/v3") == 0.0, "limits nothing by default"


def test_a_pause_follows_each_change_and_no_question(github):
    slept = []
    headers = {
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
        "Authorization": f"Bearer {TOKEN}",
    }
    waiting = Waiting(Patience(sleep=slept.append))
    rest = Rest(f"{github.server.url}/api/v3", headers, Secret(TOKEN), waiting, pause_after_change=1.0)
    rest.send("GET", "/user", expect=(200,))
    assert slept == []
    rest.send("POST", "/orgs/lab/repos", {"name": "000027"}, expect=(201,))
    assert slept == [1.0]


def test_a_secret_does_not_show_itself():
    secret = Secret(TOKEN)
    basic = secret.basic("git")

    assert TOKEN not in f"{secret!r} {secret}"
    assert secret.hide(f"{TOKEN} and {basic}") == "*** and Basic ***"


def test_whoever_watches_is_told_what_is_worked_on(family):
    told = []

    class Watcher:
        def working(self, host, name):
            told.append((host, name))

        def done(self, outcome):
            told.append((outcome.host, len(outcome.pushed)))

    for _ in range(2):
        push_all([family.plain()], family.publications(), family.marks, watcher=Watcher())

    assert told[1:] == [("shelf", "000027"), ("shelf", "000108"), ("shelf", "dandisets"), ("shelf", 4), ("shelf", 0)]
