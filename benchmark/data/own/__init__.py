"""A user's own data: layouts recognised, read, divided, and converted once into a cache outside the user's folder."""
