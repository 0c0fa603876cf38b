"""The language server: what `btfd.built` knows, said to an editor."""
