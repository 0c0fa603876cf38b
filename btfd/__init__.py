"""BTF for Linux kernel modules, live."""

#: Of the package; also part of the socket's name.
__version__ = "0.1.0"
