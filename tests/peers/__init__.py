"""Software that is not ours: how it is installed, started, asked and stopped."""
