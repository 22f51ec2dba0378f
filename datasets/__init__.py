"""Built-in data sets. One line a plugin: name -> "module:class"; listing them imports nothing."""

plugins = {
    "dataset": {
        "rooms": "mtlbench.datasets.rooms:Rooms",
        "nyud": "mtlbench.datasets.nyud:NYUD",
    }
}
