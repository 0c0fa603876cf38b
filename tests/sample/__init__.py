"""A small build tree that looks like a kernel's, and what is done with it."""
