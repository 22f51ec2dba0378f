"""Built-in tunings. One line a plugin: name -> "module:class"; listing them imports nothing."""

plugins = {"tuning": {"full": "mtlbench.tunings.full:Full"}}
