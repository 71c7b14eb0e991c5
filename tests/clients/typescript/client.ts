// Uses the service with types that are generated from the contract: sets stock, takes some, sends the same call again,
// is refused and reads why, and reads the ledger. tests/it/foreign_client.rs runs it; the commands are in package.json.

import assert from "node:assert/strict";

import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

import type { ProtoGrpcType as Availability } from "./generated/availability_service.js";
import type { DecrementAvailabilityResponse__Output } from "./generated/inventory/v1/DecrementAvailabilityResponse.js";
import type { InsufficientStock__Output } from "./generated/inventory/v1/InsufficientStock.js";
import type { ListEntriesResponse__Output } from "./generated/inventory/v1/ListEntriesResponse.js";
import type { SetStockResponse__Output } from "./generated/inventory/v1/SetStockResponse.js";
import type { ProtoGrpcType as Ledger } from "./generated/ledger_service.js";
import type { ProtoGrpcType as Stock } from "./generated/stock_service.js";

const [address, site, protos] = process.argv.slice(2) as [string, string, string];

const services = ["availability", "stock", "ledger"].map((name) => `inventory/v1/${name}_service.proto`);
// A sequence number may be larger than what a JavaScript number holds, so it is a text.
const form = { longs: String, enums: String, defaults: true, oneofs: true, json: true };
const definition = loadSync(services, { ...form, includeDirs: [protos] });
const { inventory, google } = grpc.loadPackageDefinition(definition) as unknown as Availability & Stock & Ledger;

// With a token and TLS: grpc.credentials.createSsl(ca), and metadata.set("authorization", `Bearer ${token}`).
const insecure = grpc.credentials.createInsecure();
const stock = new inventory.v1.StockService(address, insecure);
const availability = new inventory.v1.AvailabilityService(address, insecure);
const ledger = new inventory.v1.LedgerService(address, insecure);

const soon = (): grpc.CallOptions => ({ deadline: Date.now() + 5_000 });

// The answer of a call, as a promise.
function answer<A>(start: (done: grpc.requestCallback<A>) => unknown): Promise<A> {
  return new Promise((resolve, reject) => start((error, value) => (error ? reject(error) : resolve(value as A))));
}

// The levels that are short, from the details of a refusal.
function shortages(refused: grpc.ServiceError): InsufficientStock__Output {
  const [bytes] = refused.metadata.get("grpc-status-details-bin");
  const { details } = google.rpc.Status.deserialize(bytes as Buffer);
  const name = "/inventory.v1.InsufficientStock";
  const found = details.find((detail) => "@type" in detail && detail["@type"].endsWith(name));
  return found as unknown as InsufficientStock__Output;
}

// The app id is the catalog of the Rust tests, so that they can read the level.
const catalogReference = { appId: "cccccccc-0000-4000-8000-000000000001", catalogItemId: "from-typescript" };
const set = { siteId: site, requestId: "set", items: [{ catalogReference, available: 7 }] };
const stocked = await answer<SetStockResponse__Output>((done) => stock.setStock(set, soon(), done));
assert.equal(stocked.sequence, "1");

const orderId = "dddddddd-0000-4000-8000-000000000001";
const order = (requestId: string, quantity: number) =>
  answer<DecrementAvailabilityResponse__Output>((done) => {
    const items = [{ catalogReference, quantity }];
    const request = { siteId: site, orderId, requestId, items, reason: "REASON_ORDER_PLACED" as const };
    availability.decrementAvailability(request, soon(), done);
  });
const taken = await order("take", 2);
assert.deepEqual([taken.sequence, taken.levels[0]?.available], ["2", "5"]);

// After a lost answer, send the same call again: it gets the recorded outcome, and nothing is taken twice.
const replayed = await order("take", 2);
assert.deepEqual([replayed.sequence, replayed.repeatedRequest], ["2", true]);

const refused = await order("more", 6).then(
  () => assert.fail("6 pieces were sold, but only 5 are available"),
  (error: grpc.ServiceError) => error,
);
assert.equal(refused.code, grpc.status.FAILED_PRECONDITION);
const [short] = shortages(refused).shortages;
assert.deepEqual([short?.available, short?.short, short?.reason], ["5", "1", "SHORTAGE_REASON_INSUFFICIENT_STOCK"]);

const query = { siteId: site, orderId };
const { entries } = await answer<ListEntriesResponse__Output>((done) => ledger.listEntries(query, soon(), done));
assert.deepEqual(entries.map((entry) => [entry.sequence, entry.delta, entry.levelAfter]), [["2", "-2", "5"]]);
for (const client of [stock, availability, ledger]) client.close();
