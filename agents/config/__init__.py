"""Settings, presets, and the objects built from them."""
