"""`dandi-mirror clone-config`: what git and DataLad must be told for the archive's names to lead to this mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mirror.cli.options import log_level_option, settings_options

if TYPE_CHECKING:
    from mirror.config_layers import Loaded
    from mirror.store.catalogue import Standing
    from mirror.store.resolving.client_config import Example

_SCHEMES = ("http", "https", "ssh", "file")


def _base(_ctx: click.Context, _param: click.Parameter, url: str | None) -> str | None:
    from urllib.parse import urlsplit

    from mirror.errors import UsageError

    if url is None:
        return None
    base = url.removeprefix("ria+").rstrip("/")
    parts = urlsplit(base)
    if parts.scheme not in _SCHEMES or not parts.path + parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            f"{url!r} is no address of a mirror",
            hint="it starts with http://, https://, ssh:// or file://, and ends before any `?` or `#`",
        )
    if not base.isprintable() or any(char in base for char in "\\\"' "):
        raise UsageError(f"{url!r} has characters that no address has", hint="they can be written as %20 and the like")
    return base


@click.command("clone-config")
@click.option("--url", callback=_base, metavar="URL", help="Where the mirror is found.  [default: publish.url]")
@settings_options("store")
@log_level_option
def clone_config(loaded: Loaded, url: str | None) -> None:
    """Print the git configuration with which `datalad clone DANDI:000003` reaches this mirror.

    It is a file for everyone who clones, with comments that say what each line is for and how to undo it. Without
    --url it leads to the setting publish.url, and where that is not set, to the store's folder.

    \b
    dandi-mirror clone-config > ~/.gitconfig-dandi
    git config --global --add include.path '~/.gitconfig-dandi'
    datalad clone DANDI:000003/0.230629.1955
    """
    from mirror.store.resolving.addresses import Addresses
    from mirror.store.resolving.client_config import Archive, client_config
    from mirror.store.store import Store

    settings = loaded.settings
    store = Store.open(settings.store)
    facts = store.facts
    with store.catalogue() as catalogue:
        published = [standing for standing in catalogue.standings() if standing.facts.version != "draft"]
    archive = Archive(facts.instance, facts.instance_url, _doi_heads(facts.instance, published))
    addresses = Addresses.of(store.public, url or settings.publish.url)
    click.echo(client_config(archive, addresses, _example(published)), nl=False)


def _doi_heads(instance: str, published: list[Standing]) -> set[str]:
    """What the DOIs of the archive begin with: what those of the mirrored versions do."""
    from mirror.dataset.references import DOI_HEADS, DoiRef

    parts = [DoiRef(one.facts.doi.lower()).parts for one in published if one.facts.doi]
    return {one.head for one in parts if one is not None} | set(DOI_HEADS.get(instance.upper(), ()))


def _example(published: list[Standing]) -> Example:
    from mirror.store.resolving.client_config import Example

    if not published:
        return Example("000003", "0.230629.1955", None)
    facts = published[0].facts
    return Example(facts.identifier, facts.version, facts.doi)
