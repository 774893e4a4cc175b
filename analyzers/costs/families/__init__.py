"""One module per family of operators; each is found by its place here and registers itself."""
