"""Where datasets live: folders and aliases, locks, durable state, and what can be looked up.

`store` lays out and finds things, `files` writes small files so that a crash leaves the old or the new one, `lock`
keeps two writers apart. `state`, `frontier` and `skips` are what must survive; `index` (for syncs) and `catalogue`
(for people) are what can be rebuilt, by way of `cache`. `chronicle` brings the catalogue and the `feed` of changes up
to what the repositories hold, `resolving` answers from it, `overview` tells what is there, and `glance`, for a screen,
what is done there: by `activity`, `job_marks` and `disk`. `room` knows when a disk is full, `packing` and `maintenance`
keep repositories small, `owner` keeps strangers out, `resting` says how long what failed is left alone.

Imports `git`, `dataset`, `annex`, `errors`; `sync`, `publish` and `cli` import it.
"""
