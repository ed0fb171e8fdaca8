"""Pictures of what networks make and see. Plain imports only: `pictures` is read where there is no JAX."""
