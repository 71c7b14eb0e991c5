// Creates the tables and stocks them. Standard input has an item in JSON on each line; every item gets QUANTITY pieces
// at the site INSTANCE_ID.

import { readFileSync } from 'node:fs';
import pg from 'pg';
import { skuOf } from './sku.mjs';

const { DATABASE_URL, INSTANCE_ID, QUANTITY } = process.env;
const items = readFileSync(0, 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line));

const database = new pg.Client({ connectionString: DATABASE_URL });
await database.connect();
await database.query(readFileSync(new URL('./schema.sql', import.meta.url), 'utf8'));
await database.query('INSERT INTO stock SELECT $1, sku, $2 FROM unnest($3::text[]) AS sku', [
  INSTANCE_ID,
  QUANTITY,
  items.map(skuOf),
]);
await database.end();
