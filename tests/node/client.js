// The API as a platform on Node.js uses it: fetch and a WebSocket.

import { randomUUID } from "node:crypto";
import WebSocket from "ws";

const ENDED = new Set(["done", "failed", "cancelled"]);
const COME_AGAIN_MS = 500;

/** A problem document (RFC 9457) that the service has answered. */
export class ProblemError extends Error {
  constructor(problem) {
    super(`${problem.status} ${problem.title}: ${problem.detail}`);
    this.problem = problem;
  }
}

export class Client {
  /** `address` ends in /api/v1; without a key the service must be on this machine. */
  constructor(address, key) {
    this.address = address;
    this.headers = key ? { Authorization: `Bearer ${key}` } : {};
  }

  async uploadDataset(csv, described) {
    return this.#send("POST", `/datasets?${new URLSearchParams(described)}`, csv, "text/csv");
  }

  async strategy(name) {
    const { strategies } = await this.#send("GET", `/strategies?${new URLSearchParams({ name })}`);
    return strategies[0];
  }

  async addStrategy(configuration) {
    return this.#post("/strategies", configuration);
  }

  async addWebhook(webhook) {
    return this.#post("/webhooks", webhook);
  }

  async submit(order) {
    return this.#post("/runs", order);
  }

  async report(runId, points) {
    return this.#send("GET", `/runs/${runId}/report?points=${points}`);
  }

  async runs(filter) {
    return this.#send("GET", `/runs?${new URLSearchParams(filter)}`);
  }

  /** Every event of a run, in order, read a page at a time. */
  async *events(runId, limit = 1000) {
    let after = 0;
    while (after !== null) {
      const page = await this.#send("GET", `/runs/${runId}/events?limit=${limit}&after=${after}`);
      yield* page.events;
      after = page.next;
    }
  }

  async run(runId) {
    return this.#send("GET", `/runs/${runId}`);
  }

  /** Tell every state of a run, and return the last one; a lost connection is made again. */
  async follow(runId, tell) {
    let last;
    while (!ENDED.has(last?.status)) {
      last = (await this.#listen(runId, tell)) ?? last;
      if (!ENDED.has(last?.status)) await new Promise((done) => setTimeout(done, COME_AGAIN_MS));
    }
    return last;
  }

  #listen(runId, tell) {
    return new Promise((resolve, reject) => {
      let last;
      const address = `${this.address.replace(/^http/, "ws")}/runs/${runId}/socket`;
      const socket = new WebSocket(address, { headers: this.headers });
      socket.on("message", (text) => tell((last = JSON.parse(text))));
      socket.on("unexpected-response", (_, { statusCode }) =>
        reject(new Error(`The watch was refused: ${statusCode}.`)));
      // What is not a refusal is a service that is away for a moment: `close` follows.
      socket.on("error", () => {});
      socket.on("close", (code) =>
        code === 4404 ? reject(new Error(`There is no run ${runId}.`)) : resolve(last));
    });
  }

  #post(path, document) {
    return this.#send("POST", path, JSON.stringify(document), "application/json");
  }

  async #send(method, path, body, type) {
    const headers = { ...this.headers };
    if (body !== undefined) headers["Content-Type"] = type;
    // The same key for every try: what was accepted before an answer was lost is not made twice.
    if (method === "POST") headers["Idempotency-Key"] = randomUUID();
    const answer = await fetch(this.address + path, { method, headers, body });
    const document = await answer.json();
    if (!answer.ok) throw new ProblemError(document);
    return document;
  }
}
