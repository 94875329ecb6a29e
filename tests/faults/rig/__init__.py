"""A disk that loses power: what a program that was not asked to end leaves on a real disk (reference: test-tools 2)."""
