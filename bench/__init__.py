"""pahole and btfd side by side, from one run on one machine."""
