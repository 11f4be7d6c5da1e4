"""Whoever asks for the figures gets them, whatever became of the ledger."""

from __future__ import annotations

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.store.ledger import Figures, Found, KeyRow, Ledger, ledger_path
from mirror.store.proofs import proofs_of, proofs_of_dandiset
from mirror.store.store import Store
from mirror.sync.engine import sync
from tests.store.test_ledger import spoil


def test_a_damaged_one_keeps_nobody_from_the_figures(archive: DemoArchive, settings: Settings) -> None:
    identifier = archive.create_dandiset("Ripples")
    sync(settings)
    store = Store.open(settings.store)
    path = ledger_path(store.open_side)
    for read in (lambda: proofs_of(store), lambda: proofs_of_dandiset(store, identifier)):
        with Ledger(path) as ledger:
            ledger.note(KeyRow(f"SHA256E-s3--{number:064x}", 3, Found.OK, 100) for number in range(5000))
            ledger.note_versions(identifier, 100, {f"0.{number}": Figures() for number in range(5000)})
        spoil(path)

        read()

        assert path.with_name("ledger.sqlite.damaged").exists()
        path.with_name("ledger.sqlite.damaged").unlink()
