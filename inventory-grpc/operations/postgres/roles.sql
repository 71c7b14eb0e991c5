-- The database of the service and its two roles, for psql, run once by an administrator:
--
--   OWNER_PASSWORD=… SERVICE_PASSWORD=… psql --set ON_ERROR_STOP=1 --file roles.sql
--
-- `inventory_owner` owns the tables: `inventory-grpc migrate`, `token`, `ledger archive` and `site delete` run as it.
-- `inventory` runs the service. It gets its rights from `inventory-grpc migrate --grant-to inventory`, and cannot
-- change or remove ledger entries.
\getenv owner_password OWNER_PASSWORD
\getenv service_password SERVICE_PASSWORD
CREATE ROLE inventory_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE inventory LOGIN PASSWORD :'service_password';
CREATE DATABASE inventory OWNER inventory_owner;
REVOKE ALL ON DATABASE inventory FROM PUBLIC;
GRANT CONNECT ON DATABASE inventory TO inventory;
-- It sees how much of the log the standbys have, so that it notices a commit whose wait for them was cancelled.
GRANT pg_read_all_stats TO inventory;
