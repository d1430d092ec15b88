"""What exists, as Dagster assets. Thin: they call ingest, training and fleet, and attach what people look at."""
