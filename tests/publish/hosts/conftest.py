"""Repositories made with plain git, hosts to push them to, and what is found there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from mirror.config import Host
from mirror.publish.hosts import Behind, HostOutcome, Patience, behind, push_all
from mirror.publish.publication import Publication, Rank, Release

sys.path.insert(0, str(Path(__file__).parent))  # for `strict_hosts`

from strict_hosts import TOKEN, ZARR, GitServer, StrictForgejo, StrictGitHub, StrictGitLab, StrictHost


def git(repository: Path, *args: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["git", f"--git-dir={repository}", *args], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refs_of(repository: Path) -> dict[str, str]:
    lines = git(repository, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split(" ") for line in lines)


@dataclass
class Source:
    """A repository of the store, and what is to be published of it."""

    publication: Publication
    commits: int = 0
    branches: set[str] = field(default_factory=set)
    releases: list[Release] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.publication.name

    @property
    def path(self) -> Path:
        return self.publication.repository

    def commit(self, *branches: str) -> None:
        """One more commit on each of these branches, or on `draft`."""
        self._import("".join(self._commit(branch) for branch in branches or ("draft",)))

    def publish(self, version: str) -> None:
        """A version: a commit, an annotated tag, and one under its DOI."""
        tagged = f"tag {version}\nfrom refs/heads/draft\ntagger A <a@example.org> 1700000000 +0000\ndata 0\n"
        doi = f"reset refs/tags/doi/10.48324/dandi.{self.name}/{version}\nfrom refs/heads/draft\n\n"
        self._import(self._commit("draft") + tagged + doi)
        notes = f"Cite as *{version}*.\n\nNotes."
        self.releases.append(Release(version, f"{self.name} {version}", notes, "2023-06-29T19:55:00Z"))

    def _commit(self, branch: str) -> str:
        self.commits += 1
        parent = f"from refs/heads/{branch}^0\n" if branch in self.branches else ""
        self.branches.add(branch)
        who = "committer A <a@example.org> 1700000000 +0000"
        text = f"{self.name} {self.commits}"
        return (
            f"commit refs/heads/{branch}\n{who}\ndata {len(text)}\n{text}\n{parent}"
            f"M 100644 inline file.txt\ndata {len(text)}\n{text}\n\n"
        )

    def _import(self, stream: str) -> None:
        git(self.path, "fast-import", "--quiet", stdin=stream)

    def change(self, **changes: Any) -> None:
        self.publication = replace(self.publication, **changes)


class World:
    """A store's repositories, and the hosts they go to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.marks = root / "state" / "hosts"
        self.sources: dict[str, Source] = {}
        self.slept: list[float] = []

    def add(self, name: str, *needs: str, rank: Rank = Rank.DANDISET, **publication: Any) -> Source:
        path = self.root / "store" / name
        subprocess.run(["git", "init", "-q", "--bare", "--template=", "-b", "draft", str(path)], check=True)
        source = Source(
            Publication(
                name=name,
                rank=rank,
                dataset_id=str(uuid5(NAMESPACE_URL, name)),
                repository=path,
                description=f"Recordings of {name}",
                homepage=f"https://example.org/dandiset/{name}",
                private=False,
                needs=frozenset(needs),
                **publication,
            )
        )
        source.change(releases=lambda: tuple(source.releases))
        source.commit("draft", "git-annex")
        self.sources[name] = source
        return source

    def family(self) -> None:
        """A Zarr, two Dandisets of which one has it, and a superdataset of both."""
        self.add("dandisets", "000027", "000108", rank=Rank.SUPERDATASET)
        self.add("000108")
        self.add("000027", ZARR)
        self.add(ZARR, rank=Rank.ZARR)

    def publications(self) -> list[Publication]:
        return [source.publication for source in self.sources.values()]

    def push(self, *hosts: Host, patience: Patience | None = None) -> HostOutcome:
        """The outcome of the first host."""
        return self.push_all(hosts, patience=patience)[0]

    def push_all(self, hosts: Sequence[Host], patience: Patience | None = None) -> list[HostOutcome]:
        patience = patience or Patience(sleep=self.slept.append)
        return push_all(hosts, self.publications(), self.marks, patience=patience)

    def behind(self, host: Host) -> dict[str, Behind]:
        return {item.name: item for item in behind(host, self.publications(), self.marks)}

    def plain(self, **settings: Any) -> Host:
        """Bare repositories in a folder, made when missing."""
        url = f"{self.root}/host/{{name}}.git"
        create = f"git init -q --bare {self.root}/host/{{name}}.git"
        return Host(**{"name": "shelf", "kind": "plain", "url": url, "create": create, **settings})

    def there(self, name: str) -> Path:
        return self.root / "host" / f"{name}.git"

    def assert_there(self, *names: str) -> None:
        for name in names:
            assert refs_of(self.there(name)) == refs_of(self.sources[name].path)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def family(world: World) -> World:
    world.family()
    return world


@pytest.fixture
def single(world: World) -> World:
    world.add("000027")
    return world


@pytest.fixture
def git_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitServer]:
    """Plain git over HTTP, for those who have the token."""
    server = GitServer(tmp_path / "server")
    monkeypatch.setenv("HOST_TOKEN", TOKEN)
    yield server
    server.close()


_KINDS: dict[str, type[StrictHost]] = {
    "github": StrictGitHub,
    "forgejo": StrictForgejo,
    "gitea": StrictForgejo,
    "gitlab": StrictGitLab,
}


@dataclass
class Site:
    """A stand-in for a host with an API, and the configuration for it."""

    kind: str
    server: StrictHost

    def host(self, **settings: Any) -> Host:
        usual = {"name": "site", "kind": self.kind, "url": f"{self.server.url}{self.server.api}", "owner": "lab"}
        return Host(**{**usual, **settings})


@pytest.fixture
def site_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Site]]:
    servers: list[StrictHost] = []

    def start(kind: str) -> Site:
        monkeypatch.setenv(f"{kind.upper()}_TOKEN", TOKEN)
        servers.append(_KINDS[kind](tmp_path / f"server-{len(servers)}"))
        return Site(kind, servers[-1])

    yield start
    for server in servers:
        server.close()
        assert server.violations == []


@pytest.fixture(params=["github", "forgejo", "gitlab"])
def site(request: pytest.FixtureRequest, site_of: Callable[[str], Site]) -> Site:
    return site_of(request.param)


@pytest.fixture
def github(site_of: Callable[[str], Site]) -> Site:
    """Where one kind of host tells of all."""
    return site_of("github")


@pytest.fixture(name="git")
def _git() -> Callable[..., str]:
    return git


@pytest.fixture(name="refs_of")
def _refs_of() -> Callable[[Path], dict[str, str]]:
    return refs_of
