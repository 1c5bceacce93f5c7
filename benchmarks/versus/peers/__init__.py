"""Programs that run in the other libraries' environments, where morello is not installed: they import none of it."""
