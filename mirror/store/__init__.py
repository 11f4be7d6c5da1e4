"""Where datasets live: folders and aliases, locks, durable state, the index.

`store` lays out and finds things, `files` writes small files so that a crash leaves the old or the new one, `lock`
keeps two writers apart, `state` is what must survive, `index` is what can be rebuilt, `overview` tells what is there.

Imports `git`, `dataset`, `annex`, `errors`; `sync`, `publish` and `cli` import it.
"""
