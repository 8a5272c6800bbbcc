// The whole way of a backtest, seen from the platform. What it saw goes to stdout as one object.
//
//   NTRADER_API=http://127.0.0.1:8000/api/v1 DATABASE_URL=postgresql://... node journey.js BARS.csv

import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";

import { Client, ProblemError } from "./client.js";
import { bestRuns, openDatabase, readRun } from "./database.js";
import { isGenuine, Receiver } from "./receiver.js";

const client = new Client(process.env.NTRADER_API, process.env.NTRADER_KEY);
const secret = randomBytes(32).toString("hex");
const receiver = new Receiver(secret);
const { db, close } = openDatabase(process.env.DATABASE_URL);

try {
  const webhook = await client.addWebhook({ url: await receiver.listen(), secret });

  const dataset = await client.uploadDataset(await readFile(process.argv[2]), {
    symbol: "ABC", venue: "XNYS", kind: "equity", timeframe: "1m", name: "from-node",
  });
  const strategy = await client.addStrategy({
    name: "node-crossover", version: "1.0.0", implementation: "sma",
    parameters: { fast_period: 3, slow_period: 9 },
  });
  const order = { dataset_id: dataset.id, strategy_id: strategy.id, initial_capital: 10000 };
  const refusal = await client.submit({ ...order, initial_capital: -1 }).catch((error) => error);

  const accepted = await client.submit(order);
  const states = [];
  const last = await client.follow(accepted.run_id, (state) => states.push(state.status));
  const told = await receiver.about(accepted.run_id);
  const events = [];
  for await (const event of client.events(accepted.run_id, 3)) events.push(event);

  const saw = {
    webhook,
    dataset,
    strategy,
    refusal: refusal instanceof ProblemError ? refusal.problem : String(refusal),
    accepted,
    states,
    last,
    told,
    refused_deliveries: receiver.refused,
    forged_is_genuine: isGenuine({ "ntrader-timestamp": "0", "ntrader-signature": "sha256=00" }, "{}", secret),
    listed: (await client.runs({ strategy_id: strategy.id, param: "fast_period=3" })).runs,
    events,
    report: await client.report(accepted.run_id, 20),
    stored: await readRun(db, accepted.run_id),
    best: await bestRuns(db, { fast_period: 3 }, 5),
  };
  process.stdout.write(`${JSON.stringify(saw)}\n`);
} finally {
  receiver.close();
  await close();
}
