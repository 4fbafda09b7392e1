"""A job folder belongs to one set of settings: results of two are never mixed."""

import json

from sa2va_cli.errors import UsageError
from sa2va_cli.jobs.fingerprint import Settings, differences, dump_settings
from sa2va_cli.jobs.schema import DONE, ITEM_TABLES
from sa2va_cli.jobs.store import JobStore

META_NAME = "settings"


def stored_settings(store: JobStore) -> Settings | None:
    text = store.meta(META_NAME)
    return json.loads(text) if text else None


def check_settings(
    store: JobStore,
    settings: Settings,
    force: bool,
    hint: str = "give another output folder, or --force to do everything again",
) -> None:
    """Raises UsageError, naming the differences, if results of other settings are stored.

    With `force`, or as long as nothing is done, not even the first windows of a video, the new
    settings are as good as the old.
    """
    old = stored_settings(store)
    changes = differences(old, settings) if old else []
    if changes and not force and _any_work(store):
        raise UsageError(
            f"{store.job_dir} was made with other settings ({'; '.join(changes)}).",
            hint=hint,
        )


def adopt_settings(store: JobStore, settings: Settings) -> None:
    """From now on the folder belongs to these; what was done with others is forgotten."""
    old = stored_settings(store)
    with store.writing() as connection:
        if old and differences(old, settings):
            for table in ("items", *ITEM_TABLES):
                connection.execute(f"DELETE FROM {table}")
        store.set_meta(META_NAME, dump_settings(settings))


def _any_work(store: JobStore) -> bool:
    query = (
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM items WHERE state = ?) "
        "OR EXISTS (SELECT 1 FROM checkpoints)"
    )
    return store.connection.execute(query, (DONE,)).fetchone() is not None
