"""What the archive says. Reads only.

`records` are the values that flow, `client` asks the REST API, `bucket` asks the S3 bucket; `content` looks at what is
at a recorded address and fetches it. Nothing here knows of git, git-annex or a store. Everybody may import `records`;
the rest is for those who talk to the archive: `sync`, `keeping`, `proving` and `annex_remotes`.
"""
