"""Settings, presets, and what is built from them."""
