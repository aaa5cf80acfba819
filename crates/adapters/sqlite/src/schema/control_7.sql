-- What a control plane has from format 7 on: an order for each way to list many tenants and migrations.

CREATE INDEX routes_by_store ON routes (store, tenant);
CREATE INDEX routes_by_phase ON routes (phase, tenant);
CREATE INDEX migrations_by_phase ON migrations (phase, created_at, id);
CREATE INDEX migrations_by_source ON migrations (source, created_at, id);
CREATE INDEX migrations_by_target ON migrations (target, created_at, id);
