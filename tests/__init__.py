"""Tests of btfd."""
