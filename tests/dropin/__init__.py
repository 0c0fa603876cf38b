"""`btfd-pahole` as kbuild calls it, with and without a daemon."""
