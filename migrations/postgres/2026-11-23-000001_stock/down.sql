DROP TABLE request, ledger, change, level, unit, site;
DROP FUNCTION books_are_append_only;
