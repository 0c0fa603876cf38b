"""Tests with a real kernel: every module of Debian's cloud kernel, and that kernel booted."""
