// The receiver of webhooks: what is not signed with our secret, or is too old, is refused.

import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

const OLDEST_SECONDS = 300;

/** Return whether the headers sign this body with this secret, not long ago. */
export function isGenuine(headers, body, secret, now = Date.now() / 1000) {
  const timestamp = headers["ntrader-timestamp"] ?? "";
  const wanted = createHmac("sha256", secret).update(`${timestamp}.`).update(body).digest("hex");
  const given = Buffer.from(headers["ntrader-signature"] ?? "");
  const expected = Buffer.from(`sha256=${wanted}`);
  const isFresh = Math.abs(now - Number(timestamp)) <= OLDEST_SECONDS;
  return isFresh && given.length === expected.length && timingSafeEqual(given, expected);
}

/** A server on loopback that keeps what it is told, each delivery once. */
export class Receiver {
  constructor(secret) {
    this.secret = secret;
    this.deliveries = new Map();
    this.refused = 0;
    this.server = createServer((request, response) => this.#take(request, response));
  }

  async listen() {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return `http://127.0.0.1:${this.server.address().port}/webhooks/backtest-complete`;
  }

  /** Return the first delivery about a run. */
  async about(runId) {
    for (;;) {
      const found = [...this.deliveries.values()].find((each) => each.run.run_id === runId);
      if (found) return found;
      await once(this.server, "taken");
    }
  }

  close() {
    this.server.close();
    this.server.closeAllConnections();
  }

  async #take(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    if (!isGenuine(request.headers, body, this.secret)) {
      this.refused += 1;
      response.writeHead(401).end();
      return;
    }
    const event = JSON.parse(body);
    // It is told at least once: the id says what was told before.
    this.deliveries.set(request.headers["ntrader-delivery"], event);
    response.writeHead(204).end();
    this.server.emit("taken");
  }
}
