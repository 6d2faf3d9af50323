"""The policy engine, its expression language and its bundles."""
