-- The peer's tables: a row for each stock position, and a ledger row for each applied request.

CREATE TABLE stock (
    instance_id uuid   NOT NULL,
    sku         text   NOT NULL,
    quantity    bigint NOT NULL,
    PRIMARY KEY (instance_id, sku)
);

-- The primary key makes a request apply once.
CREATE TABLE ledger (
    instance_id uuid        NOT NULL,
    request_id  text        NOT NULL,
    order_id    uuid,
    kind        text        NOT NULL,
    reason      text,
    deltas      jsonb       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (instance_id, request_id)
);

-- A whole order in one round trip. Raises IV001 if a SKU is missing or short, which undoes the order.
-- `skus` is sorted, so that all orders lock rows in the same order and none deadlocks.
CREATE FUNCTION apply_order(
    instance uuid, request text, ordered uuid, kind text, reason text, restricted boolean, skus text[], deltas bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    changed integer;
BEGIN
    INSERT INTO ledger (instance_id, request_id, order_id, kind, reason, deltas)
    VALUES (instance, request, ordered, kind, reason, jsonb_object(skus, deltas::text[]))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN; -- applied before: the caller gets the same answer
    END IF;
    PERFORM FROM stock s WHERE s.instance_id = instance AND s.sku = ANY (skus) ORDER BY s.sku FOR UPDATE;
    UPDATE stock s SET quantity = s.quantity + d.delta
    FROM unnest(skus, deltas) AS d (sku, delta)
    WHERE s.instance_id = instance AND s.sku = d.sku AND (NOT restricted OR s.quantity + d.delta >= 0);
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed < cardinality(skus) THEN
        RAISE EXCEPTION 'not enough stock' USING ERRCODE = 'IV001';
    END IF;
END $$;
