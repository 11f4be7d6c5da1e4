"""What a Zarr looks like as a dataset: its checksum, its folders, its manifest, its commits. Pure, no I/O.

A Zarr is a stream of `Folder`s, each after the folders in it: that is how its checksum adds up, how its trees are
named, and how its manifest is written. Whoever works on one holds one folder at a time, not a million files.

Imported by `sync.zarr`; imports `annex`, `errors`, and the names and layout of `dataset`.
"""
