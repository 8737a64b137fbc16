"""What an editor asks of a recipe's text, as plain functions; `server` puts them behind a protocol."""
