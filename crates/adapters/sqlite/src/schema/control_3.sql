-- What a control plane has from format 3 on. Its logs and its migrations' states can also hold violations
-- and repairs, which a rehome of format 2 cannot read.

-- How long the lease was taken for; NULL where it was written in an older format.
ALTER TABLE leases ADD COLUMN length_ms INTEGER CHECK (length_ms >= 0);
