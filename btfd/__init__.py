"""BTF for Linux kernel modules, live."""
