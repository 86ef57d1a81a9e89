"""Handlers for the eleven job types of the topologies beside this package.

Small, but real work with the standard library: they compute, compress, parse, write files and
query a database. A job may run twice (delivery is at least once) and many run concurrently, so
files are named after their job or content and written atomically.
"""

from __future__ import annotations

from seed_jobs.compute import generate_report, process_analytics, send_email
from seed_jobs.database import backup_data, cleanup_old_records, run_migrations, sync_database
from seed_jobs.transfer import download_content, fetch_data, process_images, upload_files

__all__ = [
    "backup_data",
    "cleanup_old_records",
    "download_content",
    "fetch_data",
    "generate_report",
    "process_analytics",
    "process_images",
    "run_migrations",
    "send_email",
    "sync_database",
    "upload_files",
]
