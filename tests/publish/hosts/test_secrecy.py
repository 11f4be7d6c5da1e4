"""The token is in the environment, and in the header that the host gets. Nowhere else."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from urllib.parse import quote

import pytest
from strict_hosts import TOKEN, GitServer


def holds_token(text: str) -> bool:
    encoded = [base64.b64encode(f"{user}:{TOKEN}".encode()).decode() for user in ("git", "oauth2", "x-access-token")]
    return any(form in text for form in (TOKEN, quote(TOKEN, safe=""), *encoded))


def command_lines() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text(errors="replace"))
        except OSError:
            continue  # it ended meanwhile
    return "\n".join(lines)


def test_the_token_is_nowhere_to_be_seen(family, site, caplog):
    caplog.set_level(logging.DEBUG)
    seen = []
    site.server.on_git = lambda _: seen.append(command_lines())
    family.sources["000027"].publish("0.1")
    outcome = family.push(site.host())

    assert outcome.ok
    assert len(seen) == 4
    assert "git-remote-http" in seen[0]
    everything = [*seen, repr(outcome), repr(site.host()), caplog.text]
    everything += [path.read_text() for path in family.root.joinpath("state").rglob("*") if path.is_file()]
    everything += [path.read_text() for path in family.root.joinpath("store").rglob("config")]
    assert not any(holds_token(text) for text in everything)


def test_the_token_goes_out_in_headers_only(world, site):
    world.add("000027")
    world.push(site.host())

    for request in site.server.requests:
        assert not holds_token(request.path + request.body.decode(errors="replace"))
        assert any(holds_token(value) for value in request.headers.values()) or ".git/" in request.path


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422, 500])
def test_a_host_that_repeats_the_token_is_not_quoted(world, site_of, status):
    site = site_of("github")
    world.add("000027")
    encoded = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    message = {"message": f"no rights with {TOKEN} or {encoded}"}
    site.server.fault(status, message, times=99, on="^POST|receive-pack")
    outcome = world.push(site.host())

    assert "no rights with ***" in repr(outcome)
    assert not holds_token(repr(outcome) + (world.marks / "site.jsonl").read_text())


def test_a_create_command_that_prints_the_token_is_not_quoted(world, git_server):
    world.add("000027")
    create = 'echo "{name}: $HOST_TOKEN" >&2; exit 1'
    outcome = world.push(world.plain(url=f"{git_server.url}/{{name}}.git", create=create, token_variable="HOST_TOKEN"))

    assert "ended with 1: 000027: ***" in outcome.failures["000027"]


@pytest.fixture
def elsewhere(tmp_path):
    server = GitServer(tmp_path / "elsewhere")
    yield server
    server.close()


def test_an_api_that_leads_to_another_server_is_not_followed(world, site, elsewhere):
    world.add("000027")
    site.server.fault(307, times=9, on="api", Location=f"{elsewhere.url}/api")
    outcome = world.push(site.host())

    assert "redirects to another server" in outcome.failures["000027"]
    assert elsewhere.requests == []


def test_a_git_server_that_leads_to_another_is_not_followed(world, site, elsewhere):
    world.add("000027")
    elsewhere.bare("lab/000027.git")
    site.server.fault(
        302, times=9, on="info/refs", Location=f"{elsewhere.url}/lab/000027.git/info/refs?service=git-receive-pack"
    )
    outcome = world.push(site.host())

    assert "redirects elsewhere (set push_url to where it leads)" in outcome.failures["000027"]
    assert elsewhere.requests == []


def test_a_token_that_cannot_be_one_is_not_repeated(world, site, monkeypatch):
    world.add("000027")
    monkeypatch.setenv(f"{site.kind.upper()}_TOKEN", f"{TOKEN}\nX-Other: header")
    outcome = world.push(site.host())

    assert "holds characters that no token has" in outcome.stopped
    assert not holds_token(outcome.stopped)
    assert site.server.requests == []
