"""ATRC: which task attends to which, and in what way, searched and then trained."""
