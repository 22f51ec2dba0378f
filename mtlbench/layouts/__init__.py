"""Layouts: which columns, order, groups and company of published rows a table has."""
