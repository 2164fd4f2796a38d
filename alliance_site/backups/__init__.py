"""Backups of the whole database: made, restored, compared, rehearsed. docs/operation.md is their handbook."""
