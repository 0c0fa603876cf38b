"""A real kernel, built with pahole, then its BTF steps once more with the drop-in."""
