"""One version of a Dandiset with its content, as something to carry on a disk.

`plan` says what belongs into it, `git` writes the repositories, `target` a folder or a tar file, `words` what it tells
of itself, `making` does all of it, and `checking` tells, without a store, whether a bundle is whole.
"""
