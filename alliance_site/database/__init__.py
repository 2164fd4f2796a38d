"""The database of the site: PostgreSQL, told before each statement whose rows it may show."""
