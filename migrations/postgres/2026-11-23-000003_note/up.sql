-- A text by which the caller finds the change again, such as the number of a delivery note.
ALTER TABLE change ADD COLUMN note text NOT NULL DEFAULT '';
