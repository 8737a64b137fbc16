"""From words to values: what clauses, settings and conditions of a recipe mean. Knows no verb and no method by name."""
