"""Pushing to a plain git server over HTTP."""

from __future__ import annotations

import pytest
from strict_hosts import TOKEN


@pytest.fixture
def host(world, git_server):
    for name in ("000027", "000108"):
        world.add(name)
        git_server.bare(f"data/{name}.git")
    return world.plain(url=f"{git_server.url}/data/{{name}}.git", create=None, token_variable="HOST_TOKEN")


def test_the_token_lets_us_in(world, host, git_server, refs_of):
    assert world.push(host).ok
    for name, source in world.sources.items():
        assert refs_of(git_server.root / "data" / f"{name}.git") == refs_of(source.path)


def test_a_token_may_name_its_user(world, host, monkeypatch):
    monkeypatch.setenv("HOST_TOKEN", f"someone:{TOKEN}")

    assert world.push(host).ok


def test_a_wrong_token_stops_the_host(world, host, git_server, monkeypatch):
    monkeypatch.setenv("HOST_TOKEN", "another")
    outcome = world.push(host)

    assert "we are not let in" in outcome.stopped
    assert "check the token" in outcome.stopped
    assert len(git_server.requests) <= 2


def test_a_git_server_that_fails_is_tried_again(world, host, git_server):
    git_server.fault(502, times=2, on="000027")

    assert world.push(host).ok
    assert len(world.slept) == 2


def test_a_push_that_breaks_off_is_tried_again(world, host, git_server, refs_of):
    git_server.fault(500, on="POST /data/000027")

    assert world.push(host).ok
    assert refs_of(git_server.root / "data/000027.git") == refs_of(world.sources["000027"].path)


def test_a_missing_repository_is_made_by_the_create_command(world, git_server, refs_of):
    world.add("000027")
    folder = f"{git_server.root}/new/{{name}}.git"
    create = f"git init -q --bare {folder} && git --git-dir={folder} config http.receivepack true"
    host = world.plain(url=f"{git_server.url}/new/{{name}}.git", create=create, token_variable="HOST_TOKEN")

    assert world.push(host).created == ["000027"]
    assert refs_of(git_server.root / "new/000027.git") == refs_of(world.sources["000027"].path)


def test_a_large_push_goes_over_in_pieces(world, host, git_server, git, refs_of):
    source = world.sources["000027"]
    noise = "".join(f"{number * 2654435761 % 4294967296:x}" for number in range(250_000))
    commit = f"commit refs/heads/big\ncommitter A <a@b> 1 +0000\ndata 0\nM 644 inline f\ndata {len(noise)}\n{noise}\n"
    git(source.path, "fast-import", "--quiet", stdin=commit)

    assert world.push(host).ok
    assert any(request.headers.get("Transfer-Encoding") == "chunked" for request in git_server.requests)
    assert refs_of(git_server.root / "data/000027.git") == refs_of(source.path)
