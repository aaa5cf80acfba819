-- What a control plane has from format 8 on: an order for each way to list many tenants and migrations.

CREATE INDEX routes_by_store ON {schema}.routes (store, tenant);
CREATE INDEX routes_by_phase ON {schema}.routes (phase, tenant);
CREATE INDEX migrations_by_phase ON {schema}.migrations (phase, created_at, id);
CREATE INDEX migrations_by_source ON {schema}.migrations (source, created_at, id);
CREATE INDEX migrations_by_target ON {schema}.migrations (target, created_at, id);
