"""The engine: from what the archive says to what the repositories hold.

`poll` tells which Dandisets moved. `reading` reads one of them (`observe` one version of it, `drift` holds what was
published against its tag), `contents` gets texts and S3 version ids, `writing` writes (`history` the commits, `trees`
their trees, `branch` the git-annex branch from the `keys`' facts). `dandiset` does all of that for one Dandiset,
`turn` remembers how it went, `work` does many (`items`: what of; `pools/`: here, in processes, on other machines),
`engine` a whole store. `patience` says how long what fails rests, `outage` tells its trouble from the archive's.

Imports `archive`, `store`, `git`, `dataset`; `publish`, `daemon` and `cli` import it.
"""
