"""Its being here puts this folder on the import path: tests share `golden_cases` and the like."""
