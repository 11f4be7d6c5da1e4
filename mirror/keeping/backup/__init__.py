"""Content copied to special remotes of git-annex, and recorded so that clones can get it from there.

`datasets` says whose content, `lists` which of it is to go, `annex` has git-annex do it in a scratch repository of its
own (`conversation`: and talks to it), `logs` reads what git-annex noted there, `recording` takes that over into the
store, `copying` does all of it.
"""
