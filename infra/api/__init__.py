"""The query API over HTTP, and the page that shows it."""
