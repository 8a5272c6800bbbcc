// The shared database, through Drizzle.

import { drizzle } from "drizzle-orm/postgres-js";
import { and, asc, desc, eq, getViewSelectedFields, sql } from "drizzle-orm";
import postgres from "postgres";

import { artifacts, datasets, events, runs, strategies } from "./schema.js";

/** Open the database of a URL; one whose `host` option is a directory is a unix socket in it. */
export function openDatabase(url) {
  const client = postgres(connectionOf(url));
  return { db: drizzle(client), close: () => client.end() };
}

function connectionOf(url) {
  // A URL without a host is none that `URL` reads.
  const parsed = new URL(url.replace(/^postgres(ql)?:\/\/([^@/]*@)?(?=\/)/, "postgresql://$2socket"));
  const directory = parsed.searchParams.get("host");
  const port = Number(parsed.port || parsed.searchParams.get("port") || 5432);
  const where = directory?.startsWith("/")
    ? { path: `${directory}/.s.PGSQL.${port}` }
    : { host: directory ?? parsed.hostname };
  return {
    ...where,
    port,
    username: decodeURIComponent(parsed.username),
    password: decodeURIComponent(parsed.password) || undefined,
    database: parsed.pathname.slice(1),
    max: 2,
  };
}

/** Read one run with all that belongs to it. */
export async function readRun(db, runId) {
  const [found] = await db
    .select({ run: getViewSelectedFields(runs), dataset: datasets, strategy: strategies })
    .from(runs)
    .innerJoin(datasets, eq(datasets.id, runs.dataset_id))
    .innerJoin(strategies, eq(strategies.id, runs.strategy_id))
    .where(eq(runs.id, runId));
  return {
    ...found,
    events: await db.select().from(events).where(eq(events.run_id, runId)).orderBy(asc(events.id)),
    artifacts: await db
      .select().from(artifacts).where(eq(artifacts.run_id, runId)).orderBy(asc(artifacts.filename)),
  };
}

/** Return the best successful runs of strategies with these parameters, the best first. */
export async function bestRuns(db, params, limit) {
  return db
    .select({ id: runs.id, sharpe_ratio: runs.sharpe_ratio })
    .from(runs)
    .innerJoin(strategies, eq(strategies.id, runs.strategy_id))
    .where(and(eq(runs.status, "success"), sql`${strategies.params} @> ${JSON.stringify(params)}::jsonb`))
    .orderBy(desc(runs.sharpe_ratio))
    .limit(limit);
}
