"""Built-in reports. One line a plugin: name -> "module:callable"; listing them imports nothing."""

plugins = {
    "report": {
        "markdown": "mtlbench.reports.tables:markdown",
        "latex": "mtlbench.reports.tables:latex",
        "csv": "mtlbench.reports.tables:csv",
        "figures": "mtlbench.reports.figures:figures",
        "html": "mtlbench.reports.html:html",
    }
}
