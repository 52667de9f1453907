"""Erasure: a person's rows go from raw files, warehouse and releases, and stay away.

`suppression` is the list of forgotten keys, `keys` finds which keys are a person's, `matching`
says in SQL which rows hold a forgotten key, `files`, `releases` and `rewrite` take them out, and
`search` looks for what is left.
"""
