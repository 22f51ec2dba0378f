"""Built-in reports. One line a plugin: name -> "module:callable"; listing them imports nothing."""

plugins = {
    "report": {
        "markdown": "mtlbench.reports.markdown:markdown",
        "latex": "mtlbench.reports.latex:latex",
        "csv": "mtlbench.reports.csv:csv",
        "protocols": "mtlbench.reports.protocols:protocols",
        "statistics": "mtlbench.reports.statistics:statistics",
        "figures": "mtlbench.reports.figures:figures",
        "html": "mtlbench.reports.html:html",
    }
}
