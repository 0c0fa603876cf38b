"""What compilers, assemblers and linkers can put into a module, encoded and held against pahole.

Sources are in src/, each says what it is for. A compiler that is not installed skips its tests.
pahole 1.31 or newer (its path in $BTFD_PAHOLE_131, or the one in PATH) is compared byte by byte;
with an older one, types are compared as a graph and functions and variables are left out, for it
chooses them by other rules. Inputs written in assembler are the same whatever compiles them: what
pahole 1.31 makes of them is kept in golden.json.
"""
