// The peer: a server of the Wix Inventory Service Plugin as a good engineer would write it, on Wix's official SDK, with
// Postgres. Every answer waits for its commit, and a replay gets the same answer.
//
//   DATABASE_URL                  the database that seed.mjs stocked
//   WIX_APP_ID, WIX_PUBLIC_KEY    from the app's dashboard
//   PEER_STYLE                    procedure or transaction, see apply.mjs
//   PEER_CONNECTIONS              connections to Postgres, of all processes together
//   PEER_PROCESSES                processes that share the port; 1 is without node:cluster
//
// It takes a free port, and prints `peer listening on ADDRESS` when all processes listen.

import cluster from 'node:cluster';
import { createServer } from 'node:http';
import * as inventory from '@wix/auto_sdk_ecom_inventory';
import { AppStrategy, createClient } from '@wix/sdk';
import pg from 'pg';
import { styles } from './apply.mjs';
import { skuOf } from './sku.mjs';

const { DATABASE_URL, WIX_APP_ID, WIX_PUBLIC_KEY, PEER_STYLE } = process.env;
const processes = Number(process.env.PEER_PROCESSES);
const connections = Math.max(1, Math.floor(Number(process.env.PEER_CONNECTIONS) / processes));
const announce = (port) => console.log(`peer listening on 127.0.0.1:${port}`);

if (processes > 1 && cluster.isPrimary) {
  let listening = 0;
  cluster.on('listening', (_, { port }) => {
    listening += 1;
    if (listening === processes) announce(port);
  });
  cluster.on('exit', (_, code) => process.exit(code || 1));
  for (let started = 0; started < processes; started += 1) cluster.fork();
} else {
  serve();
}

function serve() {
  const pool = new pg.Pool({ connectionString: DATABASE_URL, max: connections, idleTimeoutMillis: 0 });
  pool.on('error', (error) => console.error('an idle connection failed:', error));

  const wix = createClient({
    auth: AppStrategy({ appId: WIX_APP_ID, publicKey: WIX_PUBLIC_KEY }),
    modules: { inventory },
  });
  wix.inventory.provideHandlers({
    decrementAvailability: handler(pool, 'decrement', -1, inventory.DecrementNotPossibleWixError),
    incrementAvailability: handler(pool, 'increment', 1, inventory.IncrementNotPossibleWixError),
  });

  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', async () => {
      const [status, body] = await answer(wix, request.url, Buffer.concat(chunks).toString('latin1'));
      const text = JSON.stringify(body);
      response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
      response.end(text);
    });
  });
  server.keepAliveTimeout = 65_000;
  server.listen(0, '127.0.0.1', () => {
    if (cluster.isPrimary) announce(server.address().port);
  });
}

// `process` is what the SDK's `processRequest` calls. It needs no Request and Response objects, so it is a bit faster.
async function answer(wix, url, body) {
  try {
    return [200, await wix.servicePlugins.process({ url, body })];
  } catch (error) {
    if (error.errorType === 'SPI') {
      return [error.httpCode, { applicationError: { code: error.applicationCode, data: error.data } }];
    }
    // What the SDK's library for tokens throws.
    if (typeof error.code === 'string' && error.code.startsWith('ERR_J')) return [401, {}];
    console.error(error);
    return [500, {}];
  }
}

function handler(pool, kind, sign, NotPossible) {
  const apply = styles[PEER_STYLE];
  return async ({ request, metadata }) => {
    // Items of the same SKU are summed. SKUs are sorted, so that all orders lock rows in the same order.
    const deltas = new Map();
    for (const item of request.items) {
      const sku = skuOf(item);
      deltas.set(sku, (deltas.get(sku) ?? 0) + sign * item.quantity);
    }
    const skus = [...deltas.keys()].sort();
    const isPossible = await apply(pool, {
      instanceId: metadata.instanceId,
      requestId: metadata.requestId,
      orderId: request.orderId,
      reason: request.reason,
      kind,
      restricted: sign < 0 && request.restrictInventoryValue === true,
      skus,
      deltas: skus.map((sku) => deltas.get(sku)),
    });
    if (!isPossible) throw new NotPossible();
    return {};
  };
}
