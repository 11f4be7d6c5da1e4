"""Keeping copies: content brought into the store, copied elsewhere, and carried away on a disk.

`wishes` says what is asked for, by people or rules, `plan` sorts it, small first, within a budget; `populating` brings
it into the store by way of `fetching`, which gets one content and checks it; `dropping` gives up what nobody asks for.
`keeping` does all of it for the rules of the settings, `asking` for people. `books` knows what is held, `pins` who
asked for it by hand. `backup` copies content to special remotes, `bundle` to a disk.

None of it takes the store's lock, so that polls go on meanwhile: what is fetched is put in place by a rename, and noted
under the lock of its repository. `state/content.lock` keeps two that bring or give up content apart.

Imports archive, sync, store, dataset, git. The CLI and the daemon import it.
"""
