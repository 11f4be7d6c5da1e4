"""git-annex external special remotes: programs that git-annex starts, and talks to by lines.

`dandi` gets the bytes of a key from the archive, by the addresses that the clone itself holds: no index is asked, and
no mirror. `archives` knows which servers may be asked, and which of them with a token; `named_files` finds what a
`dandi:` URL names; `pages` tells where a key is to be looked at; `lines` is the pipe to git-annex.

Imports `archive`, `annex`, `git.process`, `tokens`, `errors`; nothing imports it. What it imports is paid by each
`git annex get`: so it is little, and what only some requests need is imported by them.
"""
