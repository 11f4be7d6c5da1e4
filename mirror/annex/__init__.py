"""git-annex's formats as pure functions: keys, hash directories, log lines, metadata, remotes. No I/O.

`keys` names a content, `hashdirs` says where such a key lies, `logs` says which remote and which URL hold it,
`metadata` what is worth asking of it, `remotes` how git-annex is told of a remote. What git wants as bytes is bytes.

Imported by `dataset` and `sync`; imports nothing of ours but `errors`.
"""
