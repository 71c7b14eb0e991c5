DROP TABLE request;
DROP TABLE ledger;
DROP TABLE change;
DROP TABLE level;
DROP TABLE unit;
DROP TABLE site;
