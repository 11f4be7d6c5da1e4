"""What was asked for by hand, and is kept until it is given up by hand, whatever the rules say.

::

    STORE/state/pins.json          and the same below `private` for what is under embargo
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mirror.errors import StoreError
from mirror.keeping.wishes import Wish
from mirror.store.files import write_file
from mirror.store.sides import Side
from mirror.store.store import Store

_decode = msgspec.json.Decoder(tuple[Wish, ...])
_NAME = "pins.json"


def pins_of(store: Store) -> list[Wish]:
    """All of them, on both sides."""
    return [pin for side in _sides(store) for pin in _read(side)]


def pin(store: Store, wishes: Iterable[Wish]) -> None:
    """Remember what is asked for; before any of it is fetched."""
    _save(store, [*pins_of(store), *wishes])


def put_in_place(store: Store) -> None:
    """Each to the side that its Dandiset is on by now."""
    _save(store, pins_of(store))


def with_pinned(store: Store, wishes: Iterable[Wish]) -> list[Wish]:
    """These, and the same of each earlier state of a draft that somebody asked for."""
    pins, found = pins_of(store), dict[Wish, None]()
    for wish in wishes:
        found[wish] = None
        for one in pins:
            if (one.identifier, one.version) == (wish.identifier, wish.version):
                found[msgspec.structs.replace(wish, commit=one.commit)] = None
    return list(found)


def give_up(store: Store, wishes: Iterable[Wish]) -> list[Wish]:
    """Forget what was asked for; the pins that are left of those Dandisets."""
    pins = pins_of(store)
    given_up = list(wishes)
    for wish in given_up:
        pins = [left for one in pins for left in _without(one, wish)]
    _save(store, pins)
    named = {wish.identifier for wish in given_up}
    return [one for one in pins if one.identifier in named]


def _without(one: Wish, wish: Wish) -> list[Wish]:
    """What is left of a pin."""
    if (one.identifier, one.version) != (wish.identifier, wish.version):
        return [one]
    if not wish.paths or one.paths == wish.paths:
        return []
    return [msgspec.structs.replace(one, without=tuple(dict.fromkeys((*one.without, *wish.paths))))]


def _save(store: Store, pins: Iterable[Wish]) -> None:
    """Each on the side that its Dandiset is on now."""
    ordered = sorted(dict.fromkeys(pins), key=lambda one: (one.identifier, one.version, one.commit, one.paths))
    for side in _sides(store):
        mine = tuple(one for one in ordered if store.is_embargoed(one.identifier) is side.is_private)
        if mine != _read(side):
            write_file(side.state / _NAME, msgspec.json.format(msgspec.json.encode(mine), indent=1) + b"\n")


def _read(side: Side) -> tuple[Wish, ...]:
    path = side.state / _NAME
    try:
        return _decode.decode(path.read_bytes())
    except FileNotFoundError:
        return ()
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} cannot be read: {error}", hint="put it back from a backup, or delete it") from None


def _sides(store: Store) -> list[Side]:
    return [store.open_side, *([store.closed_side] if store.closed_side.exists else [])]
