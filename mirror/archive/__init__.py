"""What the archive says. Reads only.

`records` are the values that flow, `client` asks the REST API, `bucket` asks the S3 bucket. Nothing here knows of
git, git-annex or a store; everybody may import `records`, only `sync` imports the rest.
"""
