DROP TABLE age_mark;
