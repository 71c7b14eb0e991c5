// Two ways to apply an order in Postgres. Both resolve to whether it was possible, and to true for a replay.

// A named statement is parsed once on each connection, and its plan is kept.
const APPLY = { name: 'apply', text: 'SELECT apply_order($1, $2, $3, $4, $5, $6, $7, $8)' };
const ENTER = {
  name: 'enter',
  text: `INSERT INTO ledger (instance_id, request_id, order_id, kind, reason, deltas)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
};
const LOCK = {
  name: 'lock',
  text: 'SELECT sku, quantity FROM stock WHERE instance_id = $1 AND sku = ANY ($2) ORDER BY sku FOR UPDATE',
};
const CHANGE = {
  name: 'change',
  text: `UPDATE stock s SET quantity = s.quantity + d.delta
         FROM unnest($2::text[], $3::bigint[]) AS d (sku, delta) WHERE s.instance_id = $1 AND s.sku = d.sku`,
};

// What a good engineer tunes it to: a stored procedure, one round trip for each order.
async function procedure(pool, { instanceId, requestId, orderId, kind, reason, restricted, skus, deltas }) {
  try {
    await pool.query({ ...APPLY, values: [instanceId, requestId, orderId, kind, reason, restricted, skus, deltas] });
    return true;
  } catch (error) {
    if (error.code === 'IV001') return false;
    throw error;
  }
}

// What most write first: a transaction of five round trips for each order.
async function transaction(pool, { instanceId, requestId, orderId, kind, reason, restricted, skus, deltas }) {
  const connection = await pool.connect();
  try {
    await connection.query('BEGIN');
    const entered = JSON.stringify(Object.fromEntries(skus.map((sku, at) => [sku, deltas[at]])));
    const entry = await connection.query({ ...ENTER, values: [instanceId, requestId, orderId, kind, reason, entered] });
    const isReplay = entry.rowCount === 0;
    let isPossible = isReplay;
    if (!isReplay) {
      const { rows } = await connection.query({ ...LOCK, values: [instanceId, skus] });
      const levels = new Map(rows.map(({ sku, quantity }) => [sku, Number(quantity)]));
      isPossible = skus.every((sku, at) => levels.has(sku) && (!restricted || levels.get(sku) + deltas[at] >= 0));
    }
    if (isReplay || !isPossible) {
      await connection.query('ROLLBACK');
      return isPossible;
    }
    await connection.query({ ...CHANGE, values: [instanceId, skus, deltas] });
    await connection.query('COMMIT');
    return true;
  } catch (error) {
    await connection.query('ROLLBACK').catch(() => {});
    throw error;
  } finally {
    connection.release();
  }
}

export const styles = { procedure, transaction };
