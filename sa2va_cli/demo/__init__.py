"""The embedded demo model: a world of drawn shapes, its language, a tiny Sa2VA trained on it."""
