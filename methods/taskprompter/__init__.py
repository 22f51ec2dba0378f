"""TaskPrompter: `taskprompter.py` is the method, the other files are its parts."""
