-- Roles for a server that a team shares: an owner who migrates, writers, readers.
--
-- 1. The owner, the database, the tables (as a superuser, but for the last line):
--
--        createuser ntrader_owner --pwprompt
--        createdb backtests --owner ntrader_owner
--        DATABASE_URL=postgresql://ntrader_owner:...@host/backtests ntrader db upgrade
--
-- 2. This file, as a superuser: psql backtests -f roles.sql
--
-- 3. A login for each person or service:
--
--        CREATE ROLE alice LOGIN PASSWORD '...' IN ROLE ntrader_writer;
--        CREATE ROLE dashboard LOGIN PASSWORD '...' IN ROLE ntrader_reader;
--        CREATE ROLE service LOGIN PASSWORD '...' IN ROLE ntrader_service;
--
--    `ntrader serve`, `ntrader worker` and `ntrader keys` are for the last: hashes of keys and
--    secrets of webhooks are nobody else's.
--
-- After an upgrade of ntrader: `ntrader db upgrade` as the owner, then this file again; what is
-- there already stays.

DO $$
BEGIN
    CREATE ROLE ntrader_reader NOLOGIN;
EXCEPTION WHEN duplicate_object THEN
END
$$;

DO $$
BEGIN
    CREATE ROLE ntrader_writer NOLOGIN;
EXCEPTION WHEN duplicate_object THEN
END
$$;

DO $$
BEGIN
    CREATE ROLE ntrader_service NOLOGIN;
EXCEPTION WHEN duplicate_object THEN
END
$$;

-- A writer can do what a reader can, and the service what a writer can.
GRANT ntrader_reader TO ntrader_writer;
GRANT ntrader_writer TO ntrader_service;

-- Nobody else connects, and only the owner makes tables.
DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO ntrader_reader', current_database());
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO ntrader_reader;

GRANT SELECT ON
    datasets, strategies, strategy_sources, backtest_runs, performance_metrics, artifacts, events,
    run_tags, run_notes, run_statistics, submissions, runs, ntrader_alembic_version
    TO ntrader_reader;

-- A saved run is never changed: a writer adds runs and deletes them. Its parts go with it.
GRANT INSERT, DELETE ON backtest_runs, artifacts, run_tags, run_notes, datasets TO ntrader_writer;
GRANT INSERT ON performance_metrics, events, strategies, strategy_sources TO ntrader_writer;

-- What may change: a note, and what the newest code of a strategy's version says of itself.
GRANT UPDATE ON run_notes, strategies TO ntrader_writer;

-- What the service is asked for, and how far it is.
GRANT SELECT, INSERT, UPDATE, DELETE ON submissions, idempotency_keys TO ntrader_writer;

-- Who may ask the service, and whom it tells. Keys are revoked, never deleted.
GRANT SELECT, INSERT, UPDATE ON api_keys TO ntrader_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks, webhook_deliveries TO ntrader_service;
