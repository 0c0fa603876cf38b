"""The units under a real systemd, in a virtual machine.

Marked `systemd`, left out by CI and by `make test`: it needs root, debootstrap and QEMU, fetches
150 MB once and takes some minutes, since the machine is emulated. `make test-systemd` runs it.
"""
