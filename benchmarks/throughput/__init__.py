"""Steps a second of every part of training, beside what a user would pick instead."""
