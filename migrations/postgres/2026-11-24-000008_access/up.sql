-- Who may call. The text of a token is stored nowhere; its hash is the SHA-256 of the text. Times are microseconds
-- since 1970 (UTC). Scopes and sites are lists, separated by spaces.
CREATE TABLE token (
    name       text   COLLATE "C" NOT NULL PRIMARY KEY CHECK (name <> ''),
    hash       bytea  NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes     text   NOT NULL,
    sites      text   NOT NULL DEFAULT '', -- empty: all sites
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint
);

-- Every change of a setting, with the settings that differ as JSON before and after. A token has no site.
CREATE TABLE journal (
    change_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site_id      uuid,
    recorded_at  bigint NOT NULL,
    actor        text   NOT NULL,
    on_behalf_of text   NOT NULL,
    subject      text   NOT NULL,
    before       text   NOT NULL,
    after        text   NOT NULL
);
CREATE INDEX journal_of_site ON journal (site_id, change_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();

-- On whose behalf the actor made the change.
ALTER TABLE change ADD COLUMN on_behalf_of text NOT NULL DEFAULT '';
ALTER TABLE request ADD COLUMN on_behalf_of text;
