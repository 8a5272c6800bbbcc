// The shared tables as this side of the platform knows them, by the names that the documents of the
// shared store use. They belong to ntrader: nothing here migrates or writes them.

import {
  bigint, integer, jsonb, numeric, pgEnum, pgTable, pgView, text, timestamp, uuid,
} from "drizzle-orm/pg-core";

const instant = (name) => timestamp(name, { withTimezone: true, mode: "date" });
const money = (name) => numeric(name, { precision: 18, scale: 4 });
const ratio = (name) => numeric(name, { precision: 18, scale: 8 });

export const runMode = pgEnum("run_mode", ["backtest", "paper", "live"]);
export const executionStatus = pgEnum("execution_status", ["success", "failed"]);
export const artifactKind = pgEnum("artifact_kind", [
  "plot", "report", "csv", "pickle", "json", "parquet",
]);

export const datasets = pgTable("datasets", {
  id: uuid("id").primaryKey(),
  name: text("name").notNull(),
  description: text("description").notNull(),
  content_hash: text("content_hash").notNull(),
  start_date: instant("start_date").notNull(),
  end_date: instant("end_date").notNull(),
  symbols: text("symbols").array().notNull(),
  timeframe: text("timeframe").notNull(),
  created_at: instant("created_at").notNull(),
});

export const strategies = pgTable("strategies", {
  id: uuid("id").primaryKey(),
  name: text("name").notNull(),
  version: text("version").notNull(),
  description: text("description").notNull(),
  params: jsonb("params").notNull(),
  created_at: instant("created_at").notNull(),
  updated_at: instant("updated_at").notNull(),
});

export const runs = pgView("runs", {
  id: uuid("id").notNull(),
  dataset_id: uuid("dataset_id").notNull(),
  strategy_id: uuid("strategy_id").notNull(),
  run_mode: runMode("run_mode").notNull(),
  status: executionStatus("status").notNull(),
  start_date: instant("start_date").notNull(),
  end_date: instant("end_date").notNull(),
  executed_at: instant("executed_at").notNull(),
  initial_capital: money("initial_capital").notNull(),
  final_balance: money("final_balance"),
  total_return: ratio("total_return"),
  sharpe_ratio: ratio("sharpe_ratio"),
  max_drawdown: ratio("max_drawdown"),
  total_trades: integer("total_trades"),
  winning_trades: integer("winning_trades"),
  losing_trades: integer("losing_trades"),
  win_rate: ratio("win_rate"),
  metadata: jsonb("metadata").notNull(),
}).existing();

export const artifacts = pgTable("artifacts", {
  id: uuid("id").primaryKey(),
  run_id: uuid("run_id").notNull(),
  kind: artifactKind("kind").notNull(),
  filename: text("filename").notNull(),
  storage_path: text("storage_path").notNull(),
  mime_type: text("mime_type").notNull(),
  size_bytes: bigint("size_bytes", { mode: "number" }).notNull(),
  created_at: instant("created_at").notNull(),
});

export const events = pgTable("events", {
  id: bigint("id", { mode: "number" }).primaryKey(),
  run_id: uuid("run_id").notNull(),
  event_type: text("event_type").notNull(),
  timestamp: instant("timestamp").notNull(),
  payload: jsonb("payload").notNull(),
  created_at: instant("created_at").notNull(),
});
