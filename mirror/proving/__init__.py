"""Proving that what is mirrored is there: names, addresses, bytes; and that two mirrors hold the same.

`verify` goes through Dandisets and tells what it finds; what was seen is kept in the ledger (`store/ledger.py`), from
which `figures` says how much of each version can be had, and from where. `rolling` does a share of it each time, for
the daemon. `comparing` holds two mirrors against each other.

Reads; what it mends is only what is known to be untrue: a damaged content is moved aside and said not to be here.
Imports archive, sync, store, dataset, git, and of keeping the books of what is held. The CLI and the daemon import it.
"""
