"""How long anything waits for the database, in seconds. `specs/faults.md` explains the values.

In the URL of a database `connect_timeout`, `command_timeout` (both in seconds), `lock_timeout` and
`statement_timeout` (both as PostgreSQL writes them: `30s`, `5min`) replace the first four.
"""

CONNECT_SECONDS = 10.0
"""For a connection; and once more for all repeated attempts to get or to replace one."""

LOCK_SECONDS = 10
"""For a lock that somebody else holds."""

STATEMENT_SECONDS = 60
"""For the server to carry out one statement."""

OPERATION_SECONDS = 75.0
"""For one transaction with all that belongs to it: connecting, waiting, repeating."""

IDLE_SECONDS = 60
"""For which a transaction of a program that hangs keeps its locks."""

CLOSE_SECONDS = 2.0
"""For the server to see a connection end."""

MIGRATION_LOCK_FACTOR = 6
"""Another process that migrates the schema is waited for so many times longer than a lock."""

MIGRATION_SECONDS = 3600.0
"""For a migration: it may build an index over all runs."""

START_SECONDS = 60.0
"""For the embedded server to be ready, and for the one before it to end."""

STOP_SECONDS = 30.0
"""For the embedded server to end."""

LOAD_SECONDS = 7 * 86_400.0
"""For a dump to be restored: as many rows as there are."""
