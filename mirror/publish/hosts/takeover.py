"""Whether a repository that is there already, and not by our marks, is ours to go on with."""

from __future__ import annotations

from pathlib import Path

from mirror.errors import GitError, HostError
from mirror.git.process import run_git
from mirror.git.repository import Repository
from mirror.publish.hosts.git_environment import Remote
from mirror.publish.hosts.git_push import Git, few


def check_ours(git: Git, repository: Path, remote: Remote) -> None:
    """`HostError` unless it is empty, or holds our branches and tags, as they are or as they once were."""
    theirs = git.branches_and_tags(repository, remote)
    ours = {ref: oid.hex() for ref, oid in Repository(repository).refs().items()}
    shared = sorted(theirs.keys() & ours.keys())
    strange = [ref for ref in shared if not _leads_to(repository, theirs[ref], ours[ref])]
    if not theirs or (shared and not strange):
        return
    what = (
        "; ".join(few([f"{ref} is at {theirs[ref][:12]}, which is not of ours" for ref in strange]))
        if strange
        else f"it holds {', '.join(few(sorted(theirs)))}, and nothing of ours"
    )
    raise HostError(
        f"another repository stands at {remote.url}: {what}",
        hint="nothing was changed: rename or empty it there, or push to another place",
    )


def _leads_to(repository: Path, theirs: str, ours: str) -> bool:
    """Whether ours is built on theirs. What we do not even know is not."""
    if theirs == ours:
        return True
    try:
        run_git(repository, "merge-base", "--is-ancestor", theirs, ours)
    except GitError:
        return False
    return True
