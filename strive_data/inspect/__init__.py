"""What people look at: tables, the report, the time line of a sample."""
