"""Zarrs: list one, make sure that it is what the archive says, write what differs.

`syncing` is one Zarr's turn. `listing` reads it, `recording` goes through its folders next to what was held of it,
`trees` names (and writes) their git trees, `addresses` the git-annex branch, `materializing` writes the repository of
a Zarr of which only the manifest was kept.

Imported by `sync` and `cli`.
"""
