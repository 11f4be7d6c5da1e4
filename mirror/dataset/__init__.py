"""What a version of a Dandiset looks like as a tree and a commit. Pure: values in, values out.

`layout` holds the number of the format and everything that counts as part of it, `names` turns asset paths into tree
paths, `assets` turns the archive's asset records into ours, `records` says which file of the tree holds which record,
`documents` writes a version's metadata, `commits` the messages of commits and tags, `identity` the ids.

Imports `annex`, `errors` and `archive.records`; `sync`, `store` and `publish` import it.
"""
