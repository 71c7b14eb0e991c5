-- SQLite has no TRUNCATE. This step only keeps the two backends in step.
SELECT 1;
