"""What git does in memory that grows with the objects, done with lists in files: a Zarr has millions.

Memory grows with the largest folder and the largest file, which are held whole, and not with how many there are.

- `closure`: all that refs reach. `history_pack` writes that as a pack, from front to end: as a `bundle` or, by
  `copying`, into another repository.
- `unpacking` reads a pack from front to end, `checks` looks at each object, `object_list` says what is missing.
- `looking_through` does so in a whole repository.
"""
