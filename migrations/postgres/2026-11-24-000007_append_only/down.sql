DROP TRIGGER never_emptied ON ledger;
DROP TRIGGER never_emptied ON change;
DROP TRIGGER never_emptied ON waypoint;
