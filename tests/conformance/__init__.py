"""BTF operations checked against cases written by hand.

`cases/` holds them as data, one file a case; `format` says what the fields mean. `wire` turns types
into bytes and back in pure Python, `adapter` hands them to the project, `compare` judges.
"""
