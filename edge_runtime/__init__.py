"""The device: inference, spool, shipper and updater. Needs neither Dagster nor a trainer."""
