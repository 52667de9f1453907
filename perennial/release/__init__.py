"""Releases: whole, checked, numbered copies of the marts that readers can trust.

`store` is the folder with its releases and the link to the current one, `contract` says what the
marts must look like and what changed, `making` writes a release and verifies it.
"""
