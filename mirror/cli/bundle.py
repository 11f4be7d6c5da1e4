"""`dandi-mirror bundle`: one version of a Dandiset to be carried on a disk, and whether such a copy is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mirror.cli.amounts import counted, human_size
from mirror.cli.bar_of_content import ContentBar
from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, Status
from mirror.cli.progress import progress
from mirror.errors import Interrupted, MirrorError, SomeFailed, UsageError

if TYPE_CHECKING:
    from mirror.config_layers import Loaded
    from mirror.dataset.references import Reference
    from mirror.keeping.bundle.checking import Verified
    from mirror.keeping.bundle.making import Bundled

_GOES_ON = "the same command goes on from there; what it has made so far is in a hidden folder beside it"
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("what", required=False, metavar="[WHAT]")
@click.option("-o", "--output", "target", type=_PATH, metavar="DIR|FILE.tar", help="Write it there.")
@click.option(
    "--path",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Only content at this path, in this folder, or at paths that match, as in 'sub-1*.nwb'. May be given again.",
)
@click.option("--no-content", is_flag=True, help="Only the datasets: names, history, metadata and small texts.")
@click.option("--private", is_flag=True, help="Also of a Dandiset under embargo.")
@click.option("--verify", "verified", type=_PATH, metavar="DIR|FILE.tar", help="Tell whether this bundle is whole.")
@settings_options("store")
@json_option
@log_level_option
def bundle(
    what: str | None,
    target: Path | None,
    patterns: tuple[str, ...],
    no_content: bool,
    private: bool,
    verified: Path | None,
    loaded: Loaded,
    as_json: bool,
) -> None:
    """Make a copy of one version of a Dandiset that can be carried away and used without a network.

    WHAT is a Dandiset, its latest version then, a version, or a DOI. Content that the store does not hold is left out,
    and told; `dandi-mirror populate` brings it in. The bundle has a README with the two commands that make a clone.

    With --verify, a bundle is looked at instead: every checksum, every content, every dataset, and that all that the
    version names is there or told as missing. No store is needed. Exits with 1 if it is not whole.

    \b
    dandi-mirror bundle 000003@0.230629.1955 -o /media/disk/000003
    dandi-mirror bundle 10.48324/dandi.000003/0.230629.1955 --path 'sub-YutaMouse41/*' -o 000003.tar
    dandi-mirror bundle --verify /media/disk/000003
    """
    output = Output(as_json=as_json)
    if verified is not None:
        if what is not None or target is not None or patterns or no_content or private:
            raise UsageError("--verify looks at a bundle that is there: nothing else can be asked for with it")
        _verify(verified, output)
        return
    if what is None or target is None:
        raise UsageError(
            "a bundle of what, and where to?", hint="as in: dandi-mirror bundle 000003 -o /media/disk/000003"
        )
    if patterns and no_content:
        raise UsageError("--path chooses content, and --no-content leaves all of it out: give one of them")
    _make(what, target, patterns, not no_content, private, loaded, output)


def _make(
    what: str, target: Path, patterns: tuple[str, ...], content: bool, private: bool, loaded: Loaded, output: Output
) -> None:
    from mirror.dataset.references import parse
    from mirror.keeping.bundle.making import make_bundle
    from mirror.keeping.bundle.plan import Choice
    from mirror.store.store import Store

    identifier, version = _version(what, parse(what))
    store = Store.open(loaded.settings.store)
    with progress("Bundle") as bar:
        choice = Choice(patterns, content)
        try:
            done = make_bundle(store, identifier, version, target, choice, private=private, teller=ContentBar(bar))
        except KeyboardInterrupt:
            raise Interrupted("interrupted", hint=_GOES_ON if target.suffix != ".tar" else None) from None
    output.record(_record(done), text=_text(done))
    if done.damaged:
        raise SomeFailed(
            f"{counted(done.damaged, 'content')} in the store {'is' if done.damaged == 1 else 'are'} not what the name"
            " says, and left out",
            hint="`dandi-mirror verify --level bytes` tells which; `dandi-mirror populate` gets them again",
        )


def _version(what: str, reference: Reference) -> tuple[str, str | None]:
    """The Dandiset and the version that are meant."""
    from mirror.dataset.references import DandisetRef, DoiRef

    if isinstance(reference, DandisetRef):
        return reference.identifier, reference.version
    if isinstance(reference, DoiRef) and reference.parts is not None:
        return reference.parts.identifier, reference.parts.version
    raise UsageError(f"{what} is neither a Dandiset nor a version of one", hint="as in 000003@0.230629.1955")


def _record(done: Bundled) -> Record:
    facts = done.facts
    more = {
        "dandiset": facts.identifier,
        "version": facts.version,
        "doi": facts.doi,
        "commit": facts.commit,
        "annex_uuid": facts.annex_uuid,
        "files": facts.files,
        "bytes": facts.bytes,
        "zarrs": facts.zarrs,
        "missing": facts.missing,
        "embargoed": facts.embargoed,
    }
    status = Status.ERROR if done.damaged else Status.OK
    return Record("bundle", str(done.path), status, _kind(done.path), more=more)


def _kind(path: Path) -> str:
    return "directory" if path.is_dir() else "file"


def _text(done: Bundled) -> str:
    facts = done.facts
    zarrs = f", {counted(facts.zarrs, 'Zarr')}" if facts.zarrs else ""
    held = f"{counted(facts.files, 'content')}, {human_size(facts.bytes)}{zarrs}"
    lines = [f"{done.path}  {facts.identifier}@{facts.version}: {held}"]
    lines += [f"  not in it: {count:,} {reason}" for reason, count in sorted(facts.missing.items())]
    if facts.embargoed:
        lines.append("  it is under embargo: give it to nobody who may not read it")
    return "\n".join(lines)


def _verify(path: Path, output: Output) -> None:
    from mirror.keeping.bundle.checking import verify_bundle

    with progress("Bundle") as bar:
        found = verify_bundle(path, teller=ContentBar(bar))
    about = {"dandiset": found.facts.identifier if found.facts else None}
    for problem in found.problems:
        output.record(Record("bundle-problem", str(path), Status.ERROR, _kind(path), problem, about), text=problem)
    count = len(found.problems) + found.further
    output.record(_verdict(path, found, count), text=_said(found, count))
    if count:
        raise MirrorError(f"{path} is not a whole bundle: {counted(count, 'problem')}")


def _verdict(path: Path, found: Verified, count: int) -> Record:
    facts = found.facts
    more = {
        "dandiset": facts.identifier if facts else None,
        "version": facts.version if facts else None,
        "files": found.files,
        "missing": facts.missing if facts else None,
        "problems": count,
    }
    return Record("bundle-verify", str(path), Status.ERROR if count else Status.OK, _kind(path), more=more)


def _said(found: Verified, count: int) -> str:
    if count:
        return f"{counted(found.files, 'file')} looked at, {counted(count, 'problem')}"
    facts = found.facts
    assert facts is not None, "a bundle that does not tell what it is has a problem"
    missing = sum(facts.missing.values())
    but = f", but for {missing:,} that missing.jsonl tells of" if missing else ""
    return f"whole: {facts.identifier}@{facts.version}, {counted(found.files, 'file')}{but}"
