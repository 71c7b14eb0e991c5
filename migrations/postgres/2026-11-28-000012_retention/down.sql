DROP TRIGGER goes_on ON site;
DROP FUNCTION site_goes_on;
DROP TRIGGER nothing_after_the_cut ON ledger;
DROP TRIGGER nothing_after_the_cut ON change;
DROP TRIGGER nothing_after_the_cut ON journal;
DROP FUNCTION nothing_after_the_cut;
DROP TRIGGER append_only ON ledger;
DROP TRIGGER append_only ON change;
DROP TRIGGER append_only ON journal;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON change
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();
DROP TABLE holding, balance, cut;
