"""A bare git repository, written without git: objects into a pack, all refs moved by one rename.

Knows nothing of DANDI or git-annex; imports nothing of ours but `errors`. Start with `repository`: it ties the rest
together.

- `objects`: trees, commits and tags as values and as bytes; `refs`: the same for `packed-refs` and its kin. Pure.
- `pack` writes objects (`pack_format`, `pack_index` and `delta` are its format), `reader` reads them, `trees` edits
  trees between the two.
- `bare` makes a new repository; `ref_files` and `packs` are what is on disk and how it changes; `repair` clears away
  what a dead process left.
- `large`: packing, unpacking and checking millions of objects, for which git would take too much memory.
- `files` and `process`: durable small files, and git in a clean environment.
"""
