"""The engine: from what the archive says to what the repositories hold.

`poll` tells which Dandisets moved, `observe` reads one version, `contents` gets texts and S3 version ids, `trees` and
`branch` write what differs, `dandiset` does all of that for one Dandiset, `drift` compares what was published with its
tag, `engine` runs over many.

Imports `archive`, `store`, `git`, `dataset`; only `cli` imports it.
"""
