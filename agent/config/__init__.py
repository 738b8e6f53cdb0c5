"""The configuration: models, loading, errors that name file and line."""
