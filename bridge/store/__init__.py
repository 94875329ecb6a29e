"""Rows. The only importer of SQLAlchemy; one SQL for SQLite and PostgreSQL; statements are module constants."""
