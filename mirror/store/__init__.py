"""Where datasets live: folders and aliases, locks, durable state, and what can be looked up.

`store` lays out and finds things, `files` writes small files so that a crash leaves the old or the new one, `lock`
keeps two writers apart. `state`, `frontier` and `skips` are what must survive; `index` (for syncs) and `catalogue`
(for people) are what can be rebuilt, by way of `cache`. `chronicle` brings the catalogue and the `feed` of changes up
to what the repositories hold, `resolving` answers from it, `overview` tells what is there, and `glance`, for a screen,
what is done there: by `activity`, `job_marks` and `disk`. `room` knows when a disk is full, `packing` and `maintenance`
keep repositories small, `owner` keeps strangers out, `resting` says how long what failed is left alone.

`sides` are the two places of datasets, open and under embargo; `moving` takes one across, and `opening` makes it anew
for that. `contents` is the bytes in the repositories, `locations` what the git-annex branch says of them,
`content_book` their sum, `version_keys` which of them a version has. `ledger` is what was proved, and `proofs` what
that comes to.

Imports `git`, `dataset`, `annex`, `errors`; `sync`, `publish` and `cli` import it.
"""
