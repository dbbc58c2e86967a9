"""Short programs that use the library without the commands."""
