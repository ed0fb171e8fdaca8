"""Rich views of events and records. Nothing here knows JAX; nothing below knows Rich."""
