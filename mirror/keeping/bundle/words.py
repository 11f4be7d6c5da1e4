"""What a bundle says of itself: its README, and the script that connects a clone with it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

FORMAT = 1


class BundleFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """`bundle.json`: what is in it."""

    format: int
    instance: str
    instance_url: str
    identifier: str
    version: str
    title: str
    doi: str | None
    commit: str
    dataset_id: str
    embargoed: bool
    remote: str
    """what the bundle is called in clones that are connected with it"""
    annex_uuid: str
    files: int
    """contents that it holds"""
    bytes: int
    zarrs: int
    missing: dict[str, int]
    """what the version names and it does not hold, by the reason; `missing.jsonl` has them one by one"""


@dataclass(frozen=True)
class _Words:
    facts: BundleFacts

    def readme(self) -> str:
        return "\n\n".join(part for part in self._parts() if part) + "\n"

    def _parts(self) -> list[str]:
        return [
            f"# {self._what}",
            self._embargo(),
            self._about(),
            self._how(),
            self._by_hand(),
            self._online(),
            self._missing(),
            self._checks(),
        ]

    @property
    def _what(self) -> str:
        facts = self.facts
        version = "draft" if facts.version == "draft" else f"version {facts.version}"
        return f"{facts.instance} {facts.identifier}, {version}: {facts.title}".removesuffix(": ")

    def _embargo(self) -> str:
        if not self.facts.embargoed:
            return ""
        return "**This Dandiset is under embargo. Whoever has this copy can read it: give it to nobody who may not.**"

    def _about(self) -> str:
        facts = self.facts
        doi = f" Its DOI is <https://doi.org/{facts.doi}>." if facts.doi else ""
        zarrs = f", and {facts.zarrs:,} of its Zarrs," if facts.zarrs else ""
        held = f"{facts.files:,} content{'' if facts.files == 1 else 's'} ({facts.bytes:,} bytes)"
        return (
            f"A copy of a Dandiset of {facts.instance_url} as a DataLad dataset: its history{zarrs} as git bundles in"
            f" `git/`, and {held} in `annex/`.{doi} It needs no network: only"
            " git and git-annex (of version 10), or DataLad."
        )

    def _how(self) -> str:
        name = self.facts.identifier
        return (
            "## Use it\n\nIn the folder that this file is in, these two commands make a clone in your home folder:\n\n"
            f"    git clone git/{name} ~/{name}\n    sh connect.sh ~/{name}\n\n"
            f"With DataLad, `datalad clone git/{name} ~/{name}` instead of the first. Then, in the clone,\n"
            "`git annex get PATH` or `datalad get PATH` copies content from here, `git annex whereis` tells where it\n"
            "is, and `git annex fsck` checks it. When the disk is later found in another place, the second command,\n"
            "given again, tells the clone."
        )

    def _by_hand(self) -> str:
        facts = self.facts
        if not facts.files:
            return ""
        return (
            "What `connect.sh` does, for those who would rather do it by hand, in the clone and in each Zarr within\n"
            "it (got by `git -c protocol.file.allow=always submodule update --init`), with this folder's path for\n"
            "`HERE`:\n\n"
            f"    git annex initremote {facts.remote} type=directory directory=HERE/annex encryption=none "
            f"uuid={facts.annex_uuid}"
        )

    def _online(self) -> str:
        return (
            "## Later, with a network\n\nThe clone knows where the archive has each file, so `git annex get` works\n"
            "without this disk, too. To follow a mirror of the archive, give the clone its address:\n\n"
            f"    git remote set-url origin https://MIRROR/alias/{self.facts.identifier}\n"
            "    git config --unset remote.origin.annex-ignore\n"
            "    git fetch && git submodule sync"
        )

    def _missing(self) -> str:
        if not self.facts.missing:
            return "Everything that this version names is here."
        lines = [f"- {count:,} {reason}" for reason, count in sorted(self.facts.missing.items())]
        return "## What is not here\n\nOne by one in `missing.jsonl`:\n\n" + "\n".join(lines)

    def _checks(self) -> str:
        return (
            "## Is it whole?\n\n`sha256sum --quiet -c SHA256SUMS` says so in this folder.\n"
            "`dandi-mirror bundle --verify` checks the datasets, too, and that nothing is missing besides what is\n"
            "said to be."
        )


def readme(facts: BundleFacts) -> str:
    return _Words(facts).readme()


def connect_script(facts: BundleFacts) -> str:
    """For any POSIX shell; it may be run again, and then tells the clone where the bundle is now."""
    return _CONNECT.replace("@REMOTE@", facts.remote).replace("@UUID@", facts.annex_uuid)


_CONNECT = """\
#!/bin/sh
# Connects a clone with the content in this bundle:  sh connect.sh CLONE
set -eu
remote=@REMOTE@
uuid=@UUID@
here=$(cd "$(dirname "$0")" && pwd)

connect() {
    # It is a file, in which git-annex would look for content in vain.
    case "$(git config remote.origin.url || :)" in
        "$here"/*) git config remote.origin.annex-ignore true ;;
    esac
    git annex init --quiet
    [ -d "$here/annex" ] || return 0 # it has no content
    if git show git-annex:remote.log 2>/dev/null | grep -q "^$uuid "; then
        git annex enableremote "$remote" directory="$here/annex" >/dev/null
        git config "remote.$remote.annex-verified" verified
    else
        git annex initremote "$remote" type=directory directory="$here/annex" encryption=none uuid="$uuid" >/dev/null
    fi
}

cd "${1:?which clone? sh connect.sh CLONE}"
connect
zarrs() {
    [ -f .gitmodules ] || return 0
    git config -f .gitmodules --name-only --get-regexp '\\.datalad-id$' || : # there are none
}
zarrs | while IFS= read -r setting; do
    id=$(git config -f .gitmodules "$setting")
    path=$(git config -f .gitmodules "${setting%.datalad-id}.path")
    [ -f "$here/git/$id" ] || continue
    if ! [ -e "$path/.git" ]; then
        # Bundles are files, which git takes no submodules from unless it is told to.
        git config "${setting%.datalad-id}.url" "$here/git/$id"
        git --literal-pathspecs -c protocol.file.allow=always submodule --quiet update --init "./$path"
    fi
    (cd "./$path" && connect)
done
echo "$PWD now gets its content from $here"
"""
