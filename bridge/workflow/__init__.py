"""What happens next: one file per arrow of the picture in docs/architecture.md, and every decision."""
