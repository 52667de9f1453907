"""Perennial: the Python side of the open retention warehouse.

Pure functions of arrays and data frames that the dbt Python models and the command line
call. Nothing in here needs a warehouse unless its module says so.
"""

__version__ = "0.1.0"
