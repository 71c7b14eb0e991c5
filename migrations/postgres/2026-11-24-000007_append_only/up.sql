-- Nobody empties the ledger either. Row triggers and statement triggers for DELETE do not see TRUNCATE.
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON ledger
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON change
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON waypoint
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();
