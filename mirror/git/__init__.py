"""A bare git repository, written without git: objects into a pack, all refs moved by one rename.

Knows nothing of DANDI or git-annex; imports nothing of ours but `errors`. `objects` are the formats, `pack` writes,
`reader` reads, `trees` edits trees, `refs` and `repository` move what points at them.
"""
