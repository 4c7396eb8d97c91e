"""The LightningModule, its callbacks, stages, optimizer, micro-batches and rollback."""
